"""What Transformers makes of the decoder that `twnm-train language` leaves: ids, logits, hidden states and greedy tokens.

  pocket_decoder.py DECODER ROWS OUT     (torch, transformers)

DECODER is the run's folder `decoder`, ROWS a JSONL file of `twnm benchmark --kind text`. Writes OUT/model and OUT/tokenizer, which
`twnm verify` compares with its own.
"""
import json, os, shutil, sys
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

DECODER, ROWS, OUT = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(DECODER)
model, info = AutoModelForCausalLM.from_pretrained(DECODER, output_loading_info=True, dtype=torch.float32)
print(type(tokenizer).__name__, type(model).__name__, {k: list(v) for k, v in info.items()})
assert not any(info.values()), "every tensor is used, none is missing"
model.eval()


def conversation(row):
    options = "".join(f"\n{letter}. {row['option_' + letter.lower()]}" for letter in "ABCD")
    user = f"{row['description']}\n{row['question']}{options}"
    return [{"role": "user", "content": user}, {"role": "assistant", "content": row["response"]}]


rows = [json.loads(line) for line in list(open(ROWS))[:6]]
whole = [tokenizer.apply_chat_template(conversation(row), tokenize=False) for row in rows]
prompt = tokenizer.apply_chat_template(conversation(rows[0])[:1], tokenize=False, add_generation_prompt=True)
for part, names in [("model", ["model.safetensors", "config.json", "generation_config.json"]), ("tokenizer", ["tokenizer.json", "tokenizer_config.json"])]:
    os.makedirs(os.path.join(OUT, part), exist_ok=True)
    for name in names:
        shutil.copyfile(os.path.join(DECODER, name), os.path.join(OUT, part, name))

texts = whole + [prompt, "Caf\u00e9 \u2603 at -12.50\u00b0\n\n  1234567  <answer>B</answer><|im_end|>", ""]
expected = []
for text in texts:
    ids = tokenizer(text)["input_ids"]
    expected.append({"text": text, "ids": ids, "decoded": tokenizer.decode(ids), "without_special": tokenizer.decode(ids, skip_special_tokens=True)})
with open(os.path.join(OUT, "tokenizer", "expected.json"), "w") as f:
    json.dump(expected, f, indent=1, ensure_ascii=False)

ids = [tokenizer(text)["input_ids"] for text in whole[:3]]
width = max(map(len, ids))
padded = torch.tensor([row + [0] * (width - len(row)) for row in ids])
mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in ids])
labels = torch.where(mask == 1, padded, -100)
first = torch.tensor([tokenizer(prompt)["input_ids"]])
with torch.no_grad():
    out = model(input_ids=padded, attention_mask=mask, labels=labels, output_hidden_states=True)
    greedy = first
    for _ in range(24):  # beyond the end of an answer, where generate stops
        greedy = torch.cat([greedy, model(greedy).logits[:, -1:].argmax(-1)], 1)
    free = model.generate(first, attention_mask=torch.ones_like(first), max_new_tokens=64)
print(repr(tokenizer.decode(free[0, first.shape[1]:])))
tensors = {"input_ids": padded, "attention_mask": mask, "labels": labels, "logits": out.logits, "loss": out.loss.reshape(1)}
tensors |= {f"hidden_states.{i}": h for i, h in enumerate(out.hidden_states)}
tensors |= {"greedy_prompt": first, "greedy_tokens": greedy}
save_file({k: v.clone().contiguous() for k, v in tensors.items()}, os.path.join(OUT, "model", "expected.safetensors"))
what = "A decoder trained by twnm-train language, loaded and computed by Transformers in float32"
for part in ["model", "tokenizer"]:
    with open(os.path.join(OUT, part, "about.json"), "w") as f:
        json.dump({"what": what}, f, indent=1)
