"""Qwen2 models and PEFT adapters with random weights, and what Transformers and PEFT compute with them.

  language.py OUT     writes qwen2-*/ and qwen2-*-lora/ below OUT (torch, transformers, peft)
"""
import json, os, sys
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import Qwen2Config, Qwen2ForCausalLM

OUT = sys.argv[1]


def batch(vocabulary, rows, seed):
    g = torch.Generator().manual_seed(seed)
    width = max(rows)
    ids = torch.randint(0, vocabulary, (len(rows), width), generator=g)
    mask = torch.zeros_like(ids)
    labels = torch.full_like(ids, -100)
    for row, n in enumerate(rows):
        mask[row, :n] = 1
        labels[row, n // 2 : n] = ids[row, n // 2 : n]
    return ids, mask, labels


def about(folder, what):
    with open(os.path.join(folder, "about.json"), "w") as f:
        json.dump({"what": what}, f, indent=1)


def expected(folder, model, rows, seed, what):
    """What a model computes, beside its weights: hidden states, logits, the loss, and what it goes on with."""
    ids, mask, labels = batch(model.config.vocab_size, rows, seed)
    with torch.no_grad():
        out = model(input_ids=ids, attention_mask=mask, labels=labels, output_hidden_states=True)
        prompt = ids[:1, : rows[0]]
        # Token 0 may be in a prompt, where it is no padding.
        greedy = model.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=12, do_sample=False, pad_token_id=0)
    tensors = {"input_ids": ids, "attention_mask": mask, "labels": labels, "logits": out.logits, "loss": out.loss.reshape(1)}
    tensors |= {f"hidden_states.{i}": h for i, h in enumerate(out.hidden_states)}
    tensors |= {"greedy_prompt": prompt, "greedy_tokens": greedy}
    save_file({k: v.clone().contiguous() for k, v in tensors.items()}, os.path.join(folder, "expected.safetensors"))
    about(folder, what)


def base(name, dtype, rows, seed, **sizes):
    torch.manual_seed(seed)
    config = Qwen2Config(bos_token_id=None, eos_token_id=None, rope_theta=sizes.pop("theta", 1e6), **sizes)
    model = Qwen2ForCausalLM(config).eval()
    for name_, p in model.named_parameters():
        torch.nn.init.normal_(p, 1.0 if "norm" in name_ else 0.0, 0.15)
    folder = os.path.join(OUT, name)
    model.to(dtype).save_pretrained(folder)
    # Read again: casting the model itself would round the frequencies of the rotary embedding too.
    model = Qwen2ForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    expected(folder, model, rows, seed, f"Transformers Qwen2ForCausalLM, random weights stored as {dtype}, computed in float32 on them")
    return model, config


def adapter(name, model, config, rows, seed, **lora):
    torch.manual_seed(seed)
    peft = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", lora_dropout=0.0, **lora))
    for n, p in peft.named_parameters():
        if "lora_A" in n or "lora_B" in n:
            torch.nn.init.normal_(p, 0.0, 0.1)
        if "magnitude" in n:
            p.data *= 1 + 0.1 * torch.randn_like(p)
    folder = os.path.join(OUT, name)
    peft.peft_config["default"].base_model_name_or_path = name.removesuffix("-lora")
    peft.save_pretrained(folder)
    ids, mask, labels = batch(config.vocab_size, rows, seed + 1)
    out = peft(input_ids=ids, attention_mask=mask, labels=labels)
    tensors = {"input_ids": ids, "attention_mask": mask, "labels": labels, "logits": out.logits.detach(), "loss": out.loss.detach().reshape(1)}
    trained = {n: p for n, p in peft.named_parameters() if p.requires_grad}
    out.loss.backward()
    plain = lambda n: n.replace("lora_magnitude_vector.default.weight", "lora_magnitude_vector.default")
    tensors |= {f"grad.{plain(n)}": p.grad.clone() for n, p in trained.items()}
    optimizer = torch.optim.AdamW(trained.values(), lr=1e-2, weight_decay=0.1)
    losses, norms = [], []
    for _ in range(5):
        optimizer.zero_grad()
        loss = peft(input_ids=ids, attention_mask=mask, labels=labels).loss
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(trained.values(), 0.5))
        losses.append(loss.detach())
        optimizer.step()
    tensors |= {f"after5.{plain(n)}": p.detach() for n, p in trained.items()}
    tensors |= {"train.losses": torch.stack(losses), "train.grad_norms_before_clip": torch.stack(norms)}
    save_file({k: v.clone().contiguous() for k, v in tensors.items()}, os.path.join(folder, "expected.safetensors"))
    about(folder, f"PEFT adapter {lora} on the folder without -lora; grad.* at the saved adapter; then five AdamW steps, lr 1e-2, weight decay 0.1, clip 0.5")


if __name__ == "__main__":
    small = dict(vocab_size=97, hidden_size=40, intermediate_size=56, num_hidden_layers=3, max_position_embeddings=64)
    model, config = base("qwen2-f16", torch.float16, [11, 3, 17], 1, num_attention_heads=5, num_key_value_heads=1, tie_word_embeddings=False, **small)
    adapter("qwen2-f16-lora", model, config, [9, 14], 2, r=3, lora_alpha=5, use_dora=True, target_modules=["q_proj", "o_proj", "down_proj"])
    model, config = base("qwen2-mha", torch.bfloat16, [8, 21], 3, num_attention_heads=5, num_key_value_heads=5, tie_word_embeddings=True, theta=1e4, **small)
    adapter("qwen2-mha-lora", model, config, [9, 2, 14], 4, r=4, lora_alpha=16, use_rslora=True, target_modules=r".*layers\.[12]\.(self_attn\.(q|v)_proj|mlp\.up_proj)", rank_pattern={"layers.2.self_attn.v_proj": 2}, alpha_pattern={"up_proj": 7}, init_lora_weights="gaussian")
