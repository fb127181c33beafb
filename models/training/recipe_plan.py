"""Recipe tables of `tops train plan`: the model's dimensions, the machine, and its speed."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from models.training.recipe_tuning import Count, Effort, Positive, Share, Table


class Dimensions(Table):
    """A decoder with grouped-query attention and a gated MLP, as in its `config.json`."""

    hidden: Count
    layers: Count
    heads: Count
    kv_heads: Count
    head_size: Count
    intermediate: Count
    vocabulary: Count
    tied: bool = False

    @property
    def layer_parameters(self) -> int:
        """Weights of one layer's seven matrices; norms and biases are below a thousandth."""
        queries = self.hidden * self.heads * self.head_size
        keys = self.hidden * self.kv_heads * self.head_size
        return 2 * queries + 2 * keys + 3 * self.hidden * self.intermediate

    @property
    def parameters(self) -> int:
        embeddings = (1 if self.tied else 2) * self.vocabulary * self.hidden
        return self.layers * self.layer_parameters + embeddings

    def adapter_parameters(self, rank: int) -> int:
        """Weights of adapters of this rank on all seven matrices of each layer."""
        attention = 2 * (self.hidden + self.heads * self.head_size)
        attention += 2 * (self.hidden + self.kv_heads * self.head_size)
        return self.layers * rank * (attention + 3 * (self.hidden + self.intermediate))

    @property
    def kv_bytes(self) -> int:
        """Bytes of keys and values of one token in bfloat16."""
        return 2 * self.layers * self.kv_heads * self.head_size * 2


class Plan(Table):
    """What `tops train plan` calculates with; no stage reads it.

    `gpu_gib` is the memory of each of the `gpus` that a stage may fill. `tokens` are expected means
    of a completion by effort. `train_speed` and `generate_speed` are tokens per second of all GPUs
    together, as measured on the machine or as its documentation has them. `seed_kept` and `paired`
    are the shares of problems that end in the seed, and that give a pair for DPO. `sizes` are the
    numbers of problems of data sets that the recipe takes whole.
    """

    gpus: Count = 1
    gpu_gib: Positive = 76.0
    prompt_tokens: Count = 150
    tokens: Annotated[Mapping[Effort, Count], Field(min_length=1)]
    train_speed: Positive
    generate_speed: Positive
    seed_kept: Share = 0.35
    paired: Share = 0.3
    sizes: Mapping[str, Count] = {}
    dimensions: Dimensions | None = None
