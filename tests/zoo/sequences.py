"""Networks of sequences and tokens: recurrence, attention, embeddings."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.zoo.registry import CLASSES, SEQUENCE, TOKENS, ZOO, network


@network(SEQUENCE, "LSTM")
class Lstm(nn.Module):
    recurrent: type[nn.Module] = nn.LSTM

    def __init__(self) -> None:
        super().__init__()
        self.recurrence = self.recurrent(4, 4, batch_first=True)
        self.head = nn.Linear(4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.recurrence(x)[0][:, -1])


@network(SEQUENCE, "GRU")
class Gru(Lstm):
    recurrent = nn.GRU


@network(SEQUENCE, "RNN")
class Rnn(Lstm):
    recurrent = nn.RNN


@network(SEQUENCE, "MultiheadAttention")
class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention, self.head = nn.MultiheadAttention(4, 2, batch_first=True), nn.Linear(4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.attention(x, x, x, need_weights=False)[0].mean(1))


@network(SEQUENCE, "attention with weights")
class Weighted(Attention):
    def forward(self, x: Tensor) -> Tensor:
        attended, weights = self.attention(x, x, x)
        return self.head((weights @ attended).mean(1))


@network(SEQUENCE, "TransformerEncoder")
class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(4, 2, 6, batch_first=True, activation="gelu")
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(x).mean(1))


@network(SEQUENCE, "scaled_dot_product_attention")
class Fused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.project, self.head = nn.Linear(4, 12), nn.Linear(4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.project(x)[:, None].chunk(3, -1)
        return self.head(F.scaled_dot_product_attention(q, k, v)[:, 0].mean(1))


@network(SEQUENCE, "Conv1d")
class Conv1d(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv1d(4, 4, 3, padding=1), nn.BatchNorm1d(4), nn.ReLU())
        self.head = nn.Linear(4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x.mT).mean(2))


@network(TOKENS, "Embedding")
class Embedded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(7, 4), nn.Linear(4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.embedding(x)).mean(1))


class Bag(nn.Module):
    mode = "mean"

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.EmbeddingBag(7, 4, mode=self.mode), nn.Linear(4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.embedding(x)))


for mode in ("mean", "sum", "max"):
    ZOO[f"EmbeddingBag {mode}"] = TOKENS, type(f"Bag{mode}", (Bag,), {"mode": mode})


@network(TOKENS, "tied embedding")
class TiedEmbedding(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(7, 4), nn.Linear(4, 7, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.embedding(x)).mean(1))
