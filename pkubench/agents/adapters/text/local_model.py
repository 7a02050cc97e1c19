"""Causal language models of transformers, from a folder on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pkubench.agents.adapters.text.agent import Request, Sampling
from pkubench.agents.adapters.text.store import AnswerStore
from pkubench.agents.nn.pretrained import DATA_ONLY, WEIGHTS
from pkubench.errors import AgentError, MissingExtra


class LocalModel:
    """A model and its tokenizer, in memory."""

    def __init__(self, folder: Path, digest: str) -> None:
        """Load the model in ``folder``; no code in the folder is run.

        Raises:
            MissingExtra: transformers is not installed.
            AgentError: the folder holds no causal language model, or no chat template.
        """
        try:
            import torch
            from transformers import AutoModelForCausalLM, AutoTokenizer
        except ImportError:
            raise MissingExtra("llm", "local language models") from None
        self.torch: Any = torch
        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, **DATA_ONLY)
            self.model: Any = AutoModelForCausalLM.from_pretrained(folder, **WEIGHTS)
        except (OSError, ValueError, KeyError) as error:
            reason = " ".join(str(error).split())[:200]
            raise AgentError(f"hf:{folder} is not a causal language model: {reason}") from error
        if not self.tokenizer.chat_template:
            raise AgentError(
                f"hf:{folder} has no chat template (chat_template.jinja, or chat_template in "
                "tokenizer_config.json), so nothing says how it is asked; use an instruct model"
            )
        self.model.train(False)
        self.identity: Mapping[str, str] = {"sha256": digest}

    def ask(self, requests: Mapping[str, Request], sampling: Sampling, store: AnswerStore) -> None:
        """Generate replies one after another; see ``Model``."""
        for key, request in requests.items():
            prompt = self._prompt(request)
            with self.torch.inference_mode():
                if sampling.mode == "logprobs" and request.answers:
                    reply = self._most_probable(prompt, request)
                else:
                    reply = self._generated(prompt, request, sampling)
            store.keep(key, reply)

    def _prompt(self, request: Request) -> Any:
        messages = [{"role": role, "content": text} for role, text in request.messages]
        text = self.tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=False
        )
        return self.tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids

    def _generated(self, prompt: Any, request: Request, sampling: Sampling) -> str:
        self.torch.manual_seed((request.seed + request.turn) % 2**31)
        how: dict[str, Any] = {"do_sample": sampling.temperature > 0.0}
        if how["do_sample"]:
            how |= {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}
        pad = self.tokenizer.pad_token_id or self.tokenizer.eos_token_id
        tokens = self.model.generate(
            prompt,
            attention_mask=self.torch.ones_like(prompt),
            max_new_tokens=sampling.max_tokens,
            pad_token_id=pad,
            **how,
        )
        return str(self.tokenizer.decode(tokens[0, prompt.shape[1] :], skip_special_tokens=True))

    def _most_probable(self, prompt: Any, request: Request) -> str:
        """Return the answer with the largest probability as a whole reply, its end included."""
        best, most = request.answers[0], -float("inf")
        end = self.tokenizer.eos_token_id
        for answer in request.answers:
            tokens = self.tokenizer(answer, add_special_tokens=False).input_ids
            tokens = [*tokens, *([] if end is None else [end])]
            whole = self.torch.cat([prompt, self.torch.tensor([tokens])], dim=1)
            logits = self.model(whole).logits[0, prompt.shape[1] - 1 : -1]
            of_each = self.torch.log_softmax(logits.double(), dim=-1)
            total = float(of_each[range(len(tokens)), tokens].sum())
            if total > most:
                best, most = answer, total
        return best
