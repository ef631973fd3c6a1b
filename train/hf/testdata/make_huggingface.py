"""Makes the Hugging Face folders beside this file, with the transformers package itself.

    python3 -m venv --system-site-packages venv       # with Debian's python3-torch
    venv/bin/pip install transformers==4.36.2 safetensors
    venv/bin/python make_huggingface.py gpt2 llama
    venv/bin/pip install transformers==4.45.2         # heads of another size than hidden_size/num_attention_heads
    venv/bin/python make_huggingface.py mistral

gpt2     one file, F32, output head tied
llama    three files and an index, BF16, grouped-query attention, own output head
mistral  one file, F32, heads that hidden_size can't be divided into, as in Mistral NeMo
Each has golden.json: token ids and the logits of the model in float32. Of mistral golden.gradients has, as safetensors,
the gradients of the mean cross-entropy of these ids, each the target of the one before it.
"""
import json
import pathlib
import shutil
import sys

import torch
from safetensors.torch import save_file
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

here = pathlib.Path(__file__).parent


def make(name, model, dtype, gradients=False, **save):
    if name not in sys.argv[1:]:
        return
    model = model()
    generator = torch.Generator().manual_seed(len("hf-" + name))
    with torch.no_grad():
        for parameter in model.parameters():  # nothing may be as it was initialized
            centre = 1.0 if parameter.dim() == 1 else 0.0
            parameter.copy_(centre + 0.3 * torch.randn(parameter.shape, generator=generator))
    model = model.to(dtype).eval()
    folder = here / name
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder, safe_serialization=True, **save)
    (folder / "generation_config.json").unlink()
    ids = torch.randint(model.config.vocab_size, (1, 13), generator=generator)
    # Loaded again, not converted: RoPE's tables would keep the rounding to 16 bits.
    model = type(model).from_pretrained(folder, torch_dtype=torch.float32).eval()
    with torch.no_grad():
        logits = model(ids).logits[0]
    golden = {"ids": ids[0].tolist(), "logits": [float(f"{x:.7g}") for x in logits.flatten().tolist()]}
    (folder / "golden.json").write_text(json.dumps(golden) + "\n")
    if gradients:
        model(ids, labels=ids).loss.backward()
        save_file({name: parameter.grad for name, parameter in model.named_parameters()}, folder / "golden.gradients")


make("gpt2", lambda: GPT2LMHeadModel(GPT2Config(vocab_size=50, n_positions=16, n_embd=32, n_layer=2, n_head=2, n_inner=36)), torch.float32)
make("llama", lambda: LlamaForCausalLM(LlamaConfig(
    vocab_size=50, hidden_size=32, intermediate_size=44, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
    max_position_embeddings=16, rope_theta=5000.0, rms_norm_eps=1e-5)), torch.bfloat16, max_shard_size="16KB")
make("mistral", lambda: MistralForCausalLM(MistralConfig(
    vocab_size=50, hidden_size=30, intermediate_size=44, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=12,
    max_position_embeddings=16, rope_theta=5000.0, rms_norm_eps=1e-5)), torch.float32, gradients=True)
