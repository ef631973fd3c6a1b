"""Makes the tokenizer-*.json files beside this file, tokenizers.json with what they make of some texts, and
pipelines.json with what many normalizers, pre-tokenizers, templates and options make of them.

    python3 -m venv venv
    venv/bin/pip install tokenizers==0.23.3
    venv/bin/python make_tokenizers.py

With a folder that holds GPT-2's encoder.json and vocab.bpe, as OpenAI published them, it makes gpt2.json too: texts with
every byte of ASCII and characters of many kinds, and their ids.

tokenizer-words.json   cuts words as GPT-2 does; merges written as in older files
tokenizer-digits.json  digits one by one, as SmolLM2
tokenizer-split.json   a pattern of its own and whole words without merging, as Llama 3
"""
import hashlib
import json
import pathlib
import random
import sys

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

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
corpus = ["def trained(stage):\n    return [t.encode(x).ids for x in texts if x.startswith('the')]  # 12 of 345\n" * 2 + """
Tokenizers make ids of texts: they cut a text into words, and each word into tokens. What follows from that is that the
same words have the same tokens, wherever they are, and that frequent words have few.
""", "the quick brown fox jumps over the lazy dog; 日本語 hello world " * 3] + texts
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


# Each pipeline is a tokenizer.json of one of these models and what differs from plain stages.
def trained(stage, normalizer=None, **options):
    t = Tokenizer(models.BPE(**options))
    t.pre_tokenizer, t.normalizer = stage, normalizer
    special = ["<unk>"] if "unk_token" in options else []
    alphabet = pre_tokenizers.ByteLevel.alphabet() if isinstance(stage, pre_tokenizers.ByteLevel) else []
    t.train_from_iterator(corpus, trainers.BpeTrainer(vocab_size=380, special_tokens=special, initial_alphabet=alphabet, show_progress=False,
        **{k: v for k, v in options.items() if k != "unk_token"}))
    return json.loads(t.to_str())["model"]


def fallback(model, unknown="<unk>"):
    """Adds the 256 tokens of bytes, as Llama's have them."""
    vocab = dict(model["vocab"])
    for i in range(256):
        vocab[f"<0x{i:02X}>"] = len(vocab)
    return {**model, "vocab": vocab, "byte_fallback": True, "unk_token": unknown, "fuse_unk": True}


metaspace = pre_tokenizers.Metaspace(prepend_scheme="never", split=False)
texts += [" ", "  two  spaces ", "A\u030Angstr\u00F6m \uFB01 \u2460 \u212B", "\u0130stanbul \u03A3\u03A3 STRASSE", "a--b, (c)... d?!", "e\u0301\u0327 \u1EA5\u0323",
          "the<mask>the <mask>  the", "one <eos>two<bos>", "xMASKx MASK MASKS", "tab\tand\nline\r\n", "12 345.6789 \u0663\u0664 \u2167", "under_score caf\u00E9 na\u00EFve", "\u2581the \u2581",
          "the quick brown fox jumps", "\u4E2D\u6587\u5B57 mixed \u0442\u0435\u043A\u0441\u0442", "\U0001F600\U0001F468\u200D\U0001F469", "a\u0007b\u200Bc", "one\ntwo\nthree\n", "हिन्दी भाषा। और ا،ب Ⅷ x[a]e-z",
          "x² m²/s 10½ cups \u2460\u2461 \u24B6b a\u200Db", "\u0301marks \u07FD\u08D4 \u166D \u061D", "I'LL DON'\u017F it'S  \r\n\r\n  end  ", "12345678 0xBEEF\x0b\x0c\x85\u2028ok", "a        b\n\n\n"]
words = {
    "bytes": trained(pre_tokenizers.ByteLevel(add_prefix_space=False)),
    "chars": trained(metaspace, unk_token="<unk>"),
    "suffix": trained(pre_tokenizers.Whitespace(), unk_token="<unk>", end_of_word_suffix="</w>"),
    "prefix": trained(pre_tokenizers.Whitespace(), unk_token="<unk>", continuing_subword_prefix="##"),
}
words["fused"] = {**words["chars"], "fuse_unk": True}
words["fallback"] = fallback(words["chars"])
level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
plain = {**level, "use_regex": False}


def added(i, content, special=True, **options):
    return {"id": i, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": special, **options}


def sequence(kind, *stages):
    return {"type": "Sequence", {"n": "normalizers", "p": "pretokenizers", "d": "decoders", "t": "processors"}[kind]: list(stages)}


def split(pattern, behavior, invert=False, kind="Regex"):
    return {"type": "Split", "pattern": {kind: pattern}, "behavior": behavior, "invert": invert}


def template(*single):
    parts = [{"Sequence": {"id": "A", "type_id": 0}} if p == "A" else {"SpecialToken": {"id": p, "type_id": 0}} for p in single]
    ids = {"<bos>": 1001, "<eos>": 1002}
    return {"type": "TemplateProcessing", "single": parts, "pair": parts + [{"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {p: {"id": p, "ids": [ids[p]], "tokens": [p]} for p in single if p != "A"}}


pipelines = {}


def numbered(part, ids):
    """Replaces the ids above 1000 of added tokens by those that the tokenizers package gives them."""
    if isinstance(part, dict):
        return {k: numbered(v, ids) for k, v in part.items()}
    if isinstance(part, list):
        return [numbered(x, ids) for x in part]
    return ids.get(part, part) if isinstance(part, int) else part


def pipeline(name, model, pre=None, normalizer=None, post=None, decoder=None, tokens=()):
    vocab = words[model]["vocab"]
    ids, free = {}, len(vocab)
    for t in tokens:
        ids[t["id"]] = vocab.get(t["content"], free)
        free += t["content"] not in vocab
    tokens, post = numbered(list(tokens), ids), numbered(post, ids)
    pipelines[name] = {"model": model, "pre_tokenizer": pre, "normalizer": normalizer, "post_processor": post, "decoder": decoder, "added_tokens": list(tokens)}


for form in ["NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents"]:
    pipeline(form, "bytes", level, {"type": form})
pipeline("empty normalizers", "bytes", level, sequence("n"))
pipeline("normalizers", "bytes", level, sequence("n", {"type": "NFD"}, {"type": "StripAccents"}, {"type": "Lowercase"}, {"type": "Strip", "strip_left": True, "strip_right": False}))
pipeline("strip", "bytes", level, {"type": "Strip", "strip_left": True, "strip_right": True})
pipeline("replace", "bytes", level, sequence("n", {"type": "Replace", "pattern": {"Regex": "[aeiou]+"}, "content": "$1"}, {"type": "Replace", "pattern": {"String": "x"}, "content": "yz"}))
pipeline("byte-level normalizer", "bytes", None, {"type": "ByteLevel"})
for behavior in ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]:
    for invert in [False, True]:
        pipeline(f"split {behavior} {invert}", "bytes", sequence("p", split(r"\p{N}|[ae]|the", behavior, invert), plain))
        pipeline(f"string {behavior} {invert}", "bytes", sequence("p", split("a", behavior, invert, "String"), plain))
    pipeline(f"punctuation {behavior}", "bytes", sequence("p", {"type": "Punctuation", "behavior": behavior}, level))
qwen = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
pipeline("qwen", "bytes", sequence("p", split(qwen, "Isolated"), plain), {"type": "NFC"}, decoder=level)
pipeline("qwen removed", "bytes", sequence("p", split(qwen, "Removed", True), plain), {"type": "NFC"}, decoder=level)
pipeline("deepseek", "bytes", sequence("p", split(r"\p{N}{1,3}", "Isolated"), split("[一-龥぀-ゟ゠-ヿ]+", "Isolated"), split(
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+", "Isolated"), plain), sequence("n"))
pipeline("falcon", "bytes", sequence("p", {"type": "Punctuation", "behavior": "Contiguous"}, level, {"type": "Digits", "individual_digits": False}, split("[0-9][0-9][0-9]", "Isolated")))
for name, pattern in {"bloom": r" ?[^(\s|[.,!?…。，、।۔،])]+", "lines": r"^[a-z]+|[a-z]+$", "words": r"\w+|[^\w\s]+", "brackets": r"[]\[a]|[^]e-]+", "boundaries": r"\b\w|\d+(?=\.)|(?<=t)h"}.items():
    pipeline("expression " + name, "bytes", sequence("p", split(pattern, "Isolated"), plain))
oniguruma = {
    "posix": r"[[:alpha:]_]+|[[:^alpha:]&&[^[:space:]]]+", "properties": r"\p{Upper}\p{^L}?|\p{Punct}+|[[:punct:]]", "intersection": r"[\p{L}&&[^a-mA-M]]+|[a[^\s\S]]",
    "nested": r"[^a[^b-y ]]+", "hexadecimal": r"\h{,3}", "newlines": r"\R|(?m:x.+)", "stacked": r"\p{N}{2}?|[a-e]{1,2}+|t*?h", "quantifiers": r"a{2}{2}|(?:b|ab)*+", "boundary": r"\b|\B.",
    "line ends": r"^\s*|.$|\s++$", "folds": r"(?i:'s|k|[r-t])+", "scope": r"th(?i)E|Q|x", "empty": r"a*|", "word": r"[\w]+|\w", "not word": r"[^\W\d_]+|\W", "escapes": r"\x{62}|\u0063|\x64|[\b\t-\r]|\e|\_",
    "dash": r"[-a]+|[e-]|[^ -~]", "atomic": r"(?>a|ab)b?|(?<=t)h(?=e)|(?<!t)h(?!e)", "lower": r"[^[:lower:]\p{Nd}]{2,}"}
for name, pattern in oniguruma.items():
    pipeline("oniguruma " + name, "bytes", sequence("p", split(pattern, "Isolated"), plain))
models_patterns = {
    "gpt2": r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s",
    "cl100k": r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s",
    "o200k": r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "tekken": r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "kimi": r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "qwen marks": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"}
for name, pattern in models_patterns.items():
    pipeline("model " + name, "bytes", sequence("p", split(pattern, "Removed", True), plain))
pipeline("bert", "bytes", sequence("p", {"type": "BertPreTokenizer"}, plain), {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True})
pipeline("bert accents", "bytes", sequence("p", {"type": "BertPreTokenizer"}, plain), {"type": "BertNormalizer", "clean_text": False, "handle_chinese_chars": False, "strip_accents": True, "lowercase": False})
pipeline("nothing left", "bytes", {**plain, "add_prefix_space": True}, {"type": "Replace", "pattern": {"Regex": r"\S"}, "content": ""})
pipeline("prefix space", "bytes", {**level, "add_prefix_space": True})
pipeline("prefix space each", "bytes", sequence("p", {"type": "Digits", "individual_digits": True}, {**plain, "add_prefix_space": True}))
pipeline("digits", "bytes", sequence("p", {"type": "Digits", "individual_digits": False}, plain))
pipeline("whitespace", "bytes", sequence("p", {"type": "Whitespace"}, plain))
pipeline("whitespace split", "bytes", sequence("p", {"type": "WhitespaceSplit"}, plain))
pipeline("delimiter", "bytes", sequence("p", {"type": "CharDelimiterSplit", "delimiter": "e"}, plain))
tokens = [added(1001, "<bos>"), added(1002, "<eos>"), added(1003, "<mask>", lstrip=True, rstrip=True, normalized=False),
          added(1004, "MASK", special=False, single_word=True, normalized=True), added(1005, "the", special=False, rstrip=True, single_word=True)]
pipeline("added", "bytes", level, tokens=tokens)
pipeline("added normalized", "bytes", level, {"type": "Lowercase"}, tokens=tokens + [added(1006, "Quick", False, normalized=True)])
pipeline("template", "bytes", level, post=template("<bos>", "A", "<eos>"), tokens=tokens)
pipeline("template in sequence", "bytes", level, post=sequence("t", level, template("<bos>", "A")), tokens=tokens)
pipeline("roberta", "bytes", level, post={"type": "RobertaProcessing", "sep": ["<eos>", 1002], "cls": ["<bos>", 1001], "trim_offsets": True, "add_prefix_space": False}, tokens=tokens)
for scheme in ["always", "first", "never"]:
    for cut in [True, False]:
        pipeline(f"metaspace {scheme} {cut}", "fused", {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": cut}, tokens=tokens)
first = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}
pipeline("first after white space", "fused", sequence("p", {"type": "WhitespaceSplit"}, first))
pipeline("first after punctuation", "fused", sequence("p", {"type": "Punctuation", "behavior": "Removed"}, first))
pipeline("first after digits", "fused", sequence("p", {"type": "Digits", "individual_digits": True}, first))
for name, normal in {"strip": {"type": "Strip", "strip_left": True, "strip_right": False}, "replace": {"type": "Replace", "pattern": {"Regex": "^[a-z]|x"}, "content": "y"},
                     "shorter": {"type": "Replace", "pattern": {"Regex": "^.."}, "content": "y"}, "accents": {"type": "StripAccents"}, "prepend": {"type": "Prepend", "prepend": "y"}}.items():
    pipeline("first after " + name, "fused", first, normal)
pipeline("added spaces", "bytes", level, tokens=[added(1001, "  ", rstrip=True)])
pipeline("added inside", "bytes", level, tokens=[added(1001, "a", rstrip=True), added(1002, "  ")])
llama = sequence("n", {"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"})
pipeline("llama", "fallback", None, llama, template("<bos>", "A"), sequence("d", {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
    {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}), tokens)
pipeline("gemma", "fallback", split(" ", "MergedWithPrevious", kind="String"), {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}, template("<bos>", "A"), tokens=tokens)
pipeline("unknown", "chars", {"type": "WhitespaceSplit"})
pipeline("suffix", "suffix", {"type": "Whitespace"}, {"type": "Lowercase"}, decoder={"type": "BPEDecoder", "suffix": "</w>"})
pipeline("prefix", "prefix", {"type": "Whitespace"})
long = "ab" * 5000 + " the" * 3000 + "\n"
for p in pipelines.values():
    t = Tokenizer.from_str(json.dumps({"version": "1.0", **p, "model": words[p["model"]]}))
    p["ids"] = [t.encode(x).ids for x in texts]
    if p["decoder"]:
        p["decoded"] = [t.decode(ids, skip_special_tokens=False) for ids in p["ids"]]
    p["long"] = hashlib.sha256(" ".join(map(str, t.encode(long).ids)).encode()).hexdigest()
(here / "pipelines.json").write_text(json.dumps({"texts": texts, "models": words, "pipelines": pipelines}, ensure_ascii=False, separators=(",", ":")) + "\n")

if len(sys.argv) > 1:
    folder = pathlib.Path(sys.argv[1])
    merges = [tuple(line.split(" ")) for line in (folder / "vocab.bpe").read_text(encoding="utf-8").split("\n")[1:] if line]
    t = Tokenizer(models.BPE(vocab=json.loads((folder / "encoder.json").read_text(encoding="utf-8")), merges=merges))
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    draw = random.Random(6)
    kinds = [[chr(i) for i in range(128)], [chr(i) for i in range(0x80, 0x250)], list("\n\t\r \u00a0\u2003\u3000  "), list("'s't're've'm'll'd "), list("0123456789٣Ⅷ²"),
             list("日本語中文한국어ไทยहिन्दीعربى"), [chr(i) for i in range(0x1F600, 0x1F650)], ["the ", "and", " ing", "tion", "func ", "return", "==", "()", "e\u0301"]]
    texts = ["".join(chr(i) for i in range(256))] + [chr(i) + "a" + chr(i) for i in range(128)]
    texts += ["".join(draw.choice(draw.choice(kinds)) for _ in range(draw.randrange(40))) for _ in range(300)]
    (here / "gpt2.json").write_text(json.dumps([{"text": x, "ids": t.encode(x).ids} for x in texts], ensure_ascii=False, separators=(",", ":")) + "\n")
