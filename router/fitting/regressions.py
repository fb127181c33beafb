"""The regressions that are served: fitted to all problems of a table."""

from dataclasses import dataclass

import numpy as np

from router.arrays import Array
from router.fitting.basis import Basis
from router.fitting.kinds import kind_offsets
from router.fitting.learner import Setting, fit_log_tokens, fit_logits, fit_share
from router.fitting.table import Table
from router.kind_offsets import KindOffsets


@dataclass(frozen=True)
class Regressions:
    """Regressions of logits and log tokens at E efforts on F features and W words.

    `p_weights`, `token_weights` (E, F) and `p_bias`, `token_bias` (E,): on raw features.
    `word_weights` (W, 2E): of logits, then of log tokens. `kinds`: what kinds of traffic add to
    both. `log_tokens` (N, E): estimates of the table's own problems, without kinds.
    `known_weights` (F,), `known_word_weights` (W,), `known_bias`: of the share of known words.
    `left_out_shares` (N,): that share of each problem, estimated from the others.
    """

    basis: Basis
    p_weights: Array
    p_bias: Array
    token_weights: Array
    token_bias: Array
    word_weights: Array
    kinds: KindOffsets
    log_tokens: Array
    known_weights: Array
    known_word_weights: Array
    known_bias: float
    left_out_shares: Array

    @classmethod
    def of(cls, table: Table, setting: Setting, known_share: Array) -> "Regressions":
        """Fit them to all problems of a table, and to the share of known words (N,) of each."""
        basis = Basis.learn(table.x, table.words, table.read)
        z = basis.predictors(table.x, table.words)
        read = z if setting.words else z[:, : table.x.shape[1]]
        logits = fit_logits(read, table.successes, table.counts, setting.c)
        log_tokens = fit_log_tokens(z, table.tokens)
        p_weights, p_words, p_bias = basis.unfold(logits)
        token_weights, token_words, token_bias = basis.unfold(log_tokens)
        estimates = log_tokens(z)
        share, left_out_shares = fit_share(z, known_share)
        known_weights, known_words, known_bias = basis.unfold(share)
        return cls(
            basis=basis,
            p_weights=p_weights,
            p_bias=p_bias,
            token_weights=token_weights,
            token_bias=token_bias,
            word_weights=np.hstack([p_words, token_words]),
            kinds=kind_offsets(table, logits(read), estimates),
            log_tokens=estimates,
            known_weights=known_weights[0],
            known_word_weights=known_words[:, 0],
            known_bias=float(known_bias[0]),
            left_out_shares=left_out_shares,
        )
