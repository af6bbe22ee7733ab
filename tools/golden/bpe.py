"""Recreates tests/golden/bpe with Hugging Face's tokenizers and Transformers (pip install tokenizers transformers).

usage: bpe.py corpus OUT_FOLDER     texts of templated questions, and the merges that Hugging Face's trainer learns
       bpe.py ids FOLDER            what Transformers makes of FOLDER/tokenizer.json, which twnm has written"""

import json
import random
import sys

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

PATTERNS = {
    "phrases": r"\p{N}|[\r\n]+|[^\r\n\p{N}]+",
    "words": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
}
random.seed(11)
command, folder = sys.argv[1:]


def sentence():
    thing = random.choice(["dog", "door bell", "violin", "rain on a roof", "child's voice", "truck"])
    side = random.choice(["left", "right", "front", "back"])
    return random.choice(
        [
            f"At what azimuth is the {thing}? Options: {random.randint(0, 359)}.{random.randint(0, 99):02d}° or {side}.",
            f"The {thing} is {random.uniform(0.5, 9):.2f} m away, to the {side} of the listener.",
            f"Which source is nearer, the {thing} or the one to the {side}?",
            f"aaaa{'a' * random.randint(0, 7)} haha{'ha' * random.randint(0, 3)} {thing}  {thing}",
            f"Où est le {thing}? 東京 é e\u0301",
        ]
    )


def learn(pattern, lines):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=600, min_frequency=2, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(lines, trainer)
    return json.loads(tokenizer.to_str())["model"]["merges"]


if command == "corpus":
    text = "\n".join(sentence() for _ in range(700)) + "\n"
    with open(folder + "/corpus.txt", "w", encoding="utf-8") as file:
        file.write(text)
    merges = {name: learn(pattern, [text]) for name, pattern in PATTERNS.items()}
    with open(folder + "/merges.json", "w", encoding="utf-8") as file:
        json.dump(merges, file, indent=0)
        file.write("\n")
else:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    bare = json.load(open(folder + "/tokenizer.json", encoding="utf-8")) | {"added_tokens": []}
    bare = Tokenizer.from_str(json.dumps(bare))
    tags = ["<think>", "</think>", "<answer>", "</answer>", "<AcousticTokens>", "<|im_start|>", "<|im_end|>", "<|endoftext|>"]
    pieces = tags + [" ", "\n", "é", "e\u0301", "🎧", "7", "12.5", "aaa", "haha", "the ", "left", "<", "\t\r\n"]
    texts = ["", "".join(tags)] + [sentence() for _ in range(30)]
    texts += ["".join(random.choices(pieces, k=random.randint(1, 20))) for _ in range(60)]
    chat = [{"role": "user", "content": "<AcousticTokens>" + texts[3]}, {"role": "assistant", "content": "<answer>B</answer>"}]
    texts += [tokenizer.apply_chat_template(chat, tokenize=False), tokenizer.apply_chat_template(chat[:1], tokenize=False, add_generation_prompt=True)]
    rows = []
    for text in texts:
        ids = tokenizer(text)["input_ids"]
        decoded, short = tokenizer.decode(ids), tokenizer.decode(ids, skip_special_tokens=True)
        rows.append({"text": text, "ids": ids, "decoded": decoded, "without_special": short, "plain": bare.encode(text).ids})
    with open(folder + "/expected.json", "w", encoding="utf-8") as file:
        file.write("[\n" + ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows) + "\n]\n")
