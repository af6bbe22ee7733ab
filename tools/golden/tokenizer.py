"""Recreates tests/golden/tokenizer-qwen2 with Hugging Face's tokenizers (pip install tokenizers): a small tokenizer with
the steps of Qwen2 (NFC, its pattern, byte-level BPE) and what it makes of awkward texts.

usage: tokenizer.py FILE_TO_TRAIN_ON.. OUT_FOLDER"""

import json
import random
import sys
import unicodedata

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
MORE = ["東京の天気は晴れです。", "你好，世界！狗在左边。", "안녕하세요 세계", "Привет, мир", "déjà vu, naïve, Ångström", "    return x\n\n\t\t}"]

*sources, out = sys.argv[1:]
tokenizer = Tokenizer(models.BPE())
tokenizer.normalizer = normalizers.NFC()
tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
    [
        pre_tokenizers.Split(Regex(PATTERN), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ]
)
tokenizer.decoder = decoders.ByteLevel()
tokenizer.post_processor = processors.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
lines = [line for path in sources for line in open(path, encoding="utf-8")] + MORE * 40
trainer = trainers.BpeTrainer(
    vocab_size=1500, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
)
tokenizer.train_from_iterator(lines, trainer)
tokenizer.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
# As Qwen3 has them: looked for, but not left out of decoded text; and one that is looked for after normalisation.
plain = dict(special=False, normalized=False)
tokenizer.add_tokens([AddedToken(name, **plain) for name in ["<tool_call>", "<tool_call>>", "<think>", "</think>", " a b"]])
tokenizer.add_tokens([AddedToken("<Ångström>", special=False, normalized=True)])
tokenizer.save(out + "/tokenizer.json")

without = json.load(open(out + "/tokenizer.json", encoding="utf-8"))
without["added_tokens"] = []
without = Tokenizer.from_str(json.dumps(without))

texts = [
    "", " ", "  ", "\n", "\r\n", "\r\n\r\n", " \n", "\n ", "\t\tx", "a   b", "a  \n  b", "   5", "x   ", "\u00a0\u3000 x", "a\u2028b\u0085c",
    "It's we'll I'VE they'D 'twas 'ſ 'S'", "12345 3.14 ½ ٣ 〇 Ⅷ ²", "def f(x):\n    return x**2  # why?\n\n\n", "C:\\path\\to\\x.txt && ls -la | grep \"a b\"",
    "東京 (とうきょう) は日本の首都。", "你好，世界！！！\n\n再见", "안녕하세요 \u1112\u1161\u11ab", "Привет мир", "مرحبا بالعالم", "नमस्ते दुनिया", "สวัสดี",
    "🎧🐶👩‍👩‍👧‍👦🇩🇪👍🏽 ok", "e\u0301 n\u0303 A\u030angstrom \u212b \u2126", "a\u0323\u0302\u0301 \u0301\u0301", "x\u0338=\u0338>\u0338", "\u0000\u0000 \u0001\u007f", "\ufeffBOM \u200b \u200d",
    "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n", "<|im_start|", "<|im_end|><|im_end|>", "a<|endoftext|>b  <|endoftext|>  c", "<tool_call>>x</tool_call>",
    "<tool_call><tool_call>>", "<think>\n\nok</think>\n\n", "x a b a b", "<Ångström> <A\u030angstro\u0308m> <A\u030angstro\u0308m>\u0338", "<think>\u0338", "ﬁ ǅ ŉ", "a" * 300, " " * 300 + "x", "!" * 70 + "\n\n\n  ",
    "aaaa  bbbb\u0301\u0301\n\u0301", "word" * 50 + " " + "9" * 40, "\u0627\u0653 \u0915\u093c \u0958", "\U0001d15e\U0001d160", "\u0f71\u0f72 \u0344",
]
generator = random.Random(7)
pieces = [" ", "  ", "\n", "\r", "\t", "'s", "'", "a", "Z", "é", "e", "\u0301", "\u0323", "中", "한", "\u1161", "🎧", "7", "½", ".", "<", ">", "<think>", "<|im_end|>", "\u00a0", "\u2028", "the ", " in", "er", "_", "\\", "\u0000"]
texts += ["".join(generator.choices(pieces, k=generator.randint(1, 30))) for _ in range(250)]

rows = []
for text in texts:
    encoding = tokenizer.encode(text)
    row = {
        "text": text,
        "ids": encoding.ids,
        "decoded": tokenizer.decode(encoding.ids, skip_special_tokens=False),
        "without_special": tokenizer.decode(encoding.ids, skip_special_tokens=True),
        "plain": without.encode(text).ids,
    }
    if unicodedata.is_normalized("NFC", text):
        # Characters; where one is cut, all of its tokens name the whole.
        row["characters"] = [list(offsets) for offsets in encoding.offsets]
    rows.append(row)
with open(out + "/expected.json", "w", encoding="utf-8") as file:
    file.write("[\n" + ",\n".join(json.dumps(row, ensure_ascii=True, separators=(",", ":")) for row in rows) + "\n]\n")
print("tokenizers", tokenizers.__version__, len(rows), "texts")
