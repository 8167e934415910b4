"""Trains the tiny Llama on conversations: seeded, a fixed number of steps, about two minutes on two CPU cores."""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from tinylm.corpus import Corpus, turns
from tinylm.tokenizer import BEGIN, END, PAD

Progress = Callable[[int, float, float], None]
"""Called with the step, the loss (nats per token, smoothed) and the seconds left."""

SYSTEM_PROMPTS = ("You are a helpful assistant.", "You are a friendly assistant.", "Answer in short sentences.")
IGNORED = -100  # label of tokens that carry no loss
QUESTION_EVERY = 4  # rows between two whose questions are learned too, so that plain completion works as well


@dataclass(frozen=True)
class Recipe:
    """How the model is built and trained; part of the cache key."""

    seed: int = 20
    vocabulary: int = 2048
    positions: int = 2048
    hidden: int = 256
    layers: int = 4
    heads: int = 8
    kv_heads: int = 2
    intermediate: int = 768
    steps: int = 950
    rows: int = 2
    row_tokens: int = 320
    learning_rate: float = 2.5e-3
    warmup: int = 40
    threads: int = 2


def new_model(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Builds the untrained model: 8 heads and 2 KV heads, so that tensor parallel 2 divides them and 3 does not."""
    begin, end, pad = (tokenizer.convert_tokens_to_ids(token) for token in (BEGIN, END, PAD))
    config = LlamaConfig(
        vocab_size=recipe.vocabulary,
        hidden_size=recipe.hidden,
        intermediate_size=recipe.intermediate,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.kv_heads,
        max_position_embeddings=recipe.positions,
        tie_word_embeddings=True,
        bos_token_id=begin,
        eos_token_id=end,
        pad_token_id=pad,
    )
    model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(
        bos_token_id=begin, eos_token_id=end, pad_token_id=pad, do_sample=True, temperature=0.6, top_p=0.9
    )
    return model


def rows(corpus: Corpus, tokenizer: PreTrainedTokenizerFast, recipe: Recipe) -> Iterator[tuple[list[int], list[int]]]:
    """Endless rows of (tokens, labels): conversations of several turns, cut to `row_tokens`."""
    rng = random.Random(recipe.seed)  # noqa: S311 - reproducible, not secret
    begin = tokenizer.convert_tokens_to_ids(BEGIN)
    pending: list[tuple[str, str]] = []
    count = 0
    while True:
        tokens, labels = [begin], [IGNORED]
        count += 1
        if rng.random() < 0.1:
            system = tokenizer.encode(f"<|system|>{rng.choice(SYSTEM_PROMPTS)}{END}", add_special_tokens=False)
            tokens, labels = tokens + system, labels + [IGNORED] * len(system)
        while len(tokens) <= recipe.row_tokens:
            pending = pending or turns(corpus, rng)
            question, answer = pending.pop()
            asked = tokenizer.encode(f"<|user|>{question}{END}<|assistant|>", add_special_tokens=False)
            said = tokenizer.encode(f"{answer}{END}", add_special_tokens=False)
            tokens += asked + said
            labels += (asked if count % QUESTION_EVERY == 0 else [IGNORED] * len(asked)) + said
        yield tokens[: recipe.row_tokens], labels[: recipe.row_tokens]


def _schedule(recipe: Recipe) -> Callable[[int], float]:
    """Linear warm-up, then a straight line to nearly zero."""
    return lambda step: min((step + 1) / recipe.warmup, max(0.02, 1 - step / recipe.steps))


def train(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    corpus: Corpus,
    recipe: Recipe,
    progress: Progress,
) -> float:
    """Trains in place and returns the last smoothed loss, in nats per token."""
    decayed = [p for p in model.parameters() if p.dim() > 1]
    plain = [p for p in model.parameters() if p.dim() <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}],
        lr=recipe.learning_rate,
        betas=(0.9, 0.95),
    )
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, _schedule(recipe))
    source = rows(corpus, tokenizer, recipe)
    smooth, started = 0.0, time.monotonic()
    model.train()
    for step in range(1, recipe.steps + 1):
        batch = [next(source) for _ in range(recipe.rows)]
        tokens, labels = (torch.tensor(part) for part in zip(*batch, strict=True))
        loss = model(input_ids=tokens, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad(set_to_none=True)
        smooth = loss.item() if step == 1 else 0.95 * smooth + 0.05 * loss.item()
        progress(step, smooth, (time.monotonic() - started) / step * (recipe.steps - step))
    model.eval()
    return smooth


def answer(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, question: str, limit: int = 160) -> str:
    """Asks the model one question, without sampling; at most `limit` tokens of answer."""
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": question}], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    with torch.inference_mode():
        output = model.generate(**prompt, max_new_tokens=limit, do_sample=False, temperature=None, top_p=None)
    return str(tokenizer.decode(output[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True))
