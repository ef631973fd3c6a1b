"""Makes the tokenizer-*.json files beside this file, and tokenizers.json with what they make of some texts.

    python3 -m venv venv
    venv/bin/pip install tokenizers==0.23.3
    venv/bin/python make_tokenizers.py

tokenizer-words.json   cuts words as GPT-2 does; merges written as in older files
tokenizer-digits.json  digits one by one, as SmolLM2
tokenizer-split.json   a pattern of its own and whole words without merging, as Llama 3
"""
import json
import pathlib

from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

here = pathlib.Path(__file__).parent
texts = [
    "", "Hello, world!", "it's  we'LL\n\n\tx   ", " leading", "12345 abc1234 ½ x²", "foo();\n\n  bar();\r\n", "日本語のテキスト。\n次", "é e\u0301 🙂\u00a0 x",
    "<|end|>", "a<|end|>\n<|end|><|end|>b <|endless|>", "<|en d|>", "aaaaaaaaaaaaaaaa", "the the thethe", "   \n  \n", "x\u0085y\u2028z", "'s's", "\x00\x7f",
]
llama3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
stages = {
    "words": pre_tokenizers.ByteLevel(add_prefix_space=False),
    "digits": pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]),
    "split": pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(llama3), behavior="isolated"),
                                      pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]),
}
corpus = [pathlib.Path(__file__).read_text(), "the quick brown fox jumps over the lazy dog; 日本語 hello world " * 3] + texts
golden = {"texts": texts}
for name, stage in stages.items():
    t = Tokenizer(models.BPE(ignore_merges=name == "split"))
    t.pre_tokenizer = stage
    t.train_from_iterator(corpus, trainers.BpeTrainer(
        vocab_size=420, special_tokens=["<|end|>", "<|endless|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    data = json.loads(t.to_str())
    if name == "words":
        data["model"]["merges"] = [" ".join(pair) for pair in data["model"]["merges"]]
    if name == "split":  # a word that no merges lead to
        data["model"]["vocab"]["zebra"] = len(data["model"]["vocab"])
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    (here / f"tokenizer-{name}.json").write_text(text + "\n")
    t = Tokenizer.from_str(text)
    golden[name] = [t.encode(x).ids for x in texts + ["zebra zebra"]]
golden["texts"].append("zebra zebra")
(here / "tokenizers.json").write_text(json.dumps(golden) + "\n")
