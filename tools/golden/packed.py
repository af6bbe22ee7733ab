"""Qwen2 models whose linear layers bitsandbytes packed, and an adapter on one of them (QLoRA).

  packed.py OUT     writes qwen2-nf4/, qwen2-nf4-lora/, qwen2-nf4-plain/, qwen2-nf4-bf16/ and qwen2-int8/ below OUT
                    (torch, transformers, peft, bitsandbytes, accelerate)

The widths are no multiples of the 64 numbers that share a scale, so blocks go across rows. bitsandbytes packs and unpacks;
Transformers and PEFT compute in float32 on the weights that it unpacks (its own products round activations: to bfloat16 on
this kind of CPU, to eight bits in int8 layers).
"""
import os, sys
import torch
from transformers import BitsAndBytesConfig, Qwen2Config, Qwen2ForCausalLM
import bitsandbytes.functional as bnb
from language import OUT, adapter, expected

SIZES = dict(vocab_size=97, hidden_size=40, intermediate_size=56, num_hidden_layers=2, num_attention_heads=5,
             num_key_value_heads=1, tie_word_embeddings=False, max_position_embeddings=64)


def packed(name, plain, dtype=torch.float32, **how):
    """The folder of `plain` packed from `dtype`, and a plain model with the weights that bitsandbytes unpacks from it."""
    folder = os.path.join(OUT, name)
    config = BitsAndBytesConfig(bnb_4bit_compute_dtype=torch.float32, **how)
    read = lambda path, dtype, **more: Qwen2ForCausalLM.from_pretrained(path, dtype=dtype, **more).eval()
    read(plain, dtype, quantization_config=config, device_map="cpu").save_pretrained(folder)
    stored, model = read(folder, dtype, device_map="cpu"), read(plain, torch.float32)
    others = dict(stored.named_parameters())
    for at, parameter in model.named_parameters():
        if "_proj.weight" not in at:
            parameter.data = others[at].data.float()
    for at, module in model.named_modules():
        if at.endswith("_proj"):
            weight = stored.get_submodule(at).weight
            if "load_in_4bit" in how:
                module.weight.data = bnb.dequantize_4bit(weight.data, weight.quant_state).float()
            else:
                module.weight.data = bnb.int8_vectorwise_dequant(weight.data, weight.SCB).float()
    return folder, model


torch.manual_seed(11)
model = Qwen2ForCausalLM(Qwen2Config(bos_token_id=None, eos_token_id=None, rope_theta=1e6, **SIZES)).eval()
for name, p in model.named_parameters():
    torch.nn.init.normal_(p, 1.0 if "norm" in name else 0.0, 0.15)
plain = os.path.join(OUT, "qwen2-nf4-plain")
model.save_pretrained(plain)
what = "linear layers packed in {} by bitsandbytes; Transformers in float32 on the weights that it unpacks"
folder, nf4 = packed("qwen2-nf4", plain, load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True)
expected(folder, nf4, [11, 3, 17], 5, what.format("NF4 with packed magnitudes"))
targets = ["q_proj", "v_proj", "o_proj", "down_proj", "up_proj"]
adapter("qwen2-nf4-lora", nf4, nf4.config, [9, 14], 6, r=3, lora_alpha=5, target_modules=targets)
folder, narrow = packed("qwen2-nf4-bf16", plain, torch.bfloat16, load_in_4bit=True, bnb_4bit_quant_type="nf4")
expected(folder, narrow, [11, 3, 17], 9, what.format("NF4 from bfloat16"))
folder, int8 = packed("qwen2-int8", plain, load_in_8bit=True)
expected(folder, int8, [11, 3, 17], 7, what.format("int8"))
