"""A real language model small enough to build in seconds, for tests of the plumbing.

Qwen2 architecture, random weights, about 1.6 million parameters, a byte-level BPE of a
few hundred tokens and a ChatML template. It writes nonsense, deterministically built.
"""

from __future__ import annotations

import sys
from pathlib import Path

from retrace.weights import save

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CORPUS = (
    "Tom has 3 bags with 4 apples each. How many apples does he have in all?",
    "First multiply the bags by the apples: 3 * 4 = 12. The answer is 12.",
    "The quick brown fox jumps over the lazy dog 0123456789 times.",
)
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


def build(path: Path, seed: int = 0, shards: int = 1) -> None:
    """Write the model into a directory as the pipeline's own models are written."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    words = tokenizer()
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=len(words),
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=6,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
    )
    save(path, Qwen2ForCausalLM(config), words, shards, {"source": "tiny fixture"})


def tokenizer():  # type: ignore[no-untyped-def]
    """The model's tokenizer: ChatML, as Qwen2.5's, in a few hundred tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    pieces = Tokenizer(models.BPE())
    pieces.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pieces.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=371,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    pieces.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=pieces,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=TEMPLATE,
    )


if __name__ == "__main__":
    build(Path(sys.argv[1]))
