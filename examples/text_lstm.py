"""Text of different lengths through an LSTM, from a data set with a collate function.

Sentences are padded to the longest of those collated together; the network takes them and their lengths by name.
"""

import torch
from torch import nn

import landscape


class Reader(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.lstm, self.head = nn.Embedding(20, 6), nn.LSTM(6, 5, batch_first=True), nn.Linear(5, 2)

    def forward(self, tokens: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
        states, _ = self.lstm(self.words(tokens))
        return self.head(states[torch.arange(len(length), device=length.device), length - 1])


class Sentences(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return 30

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        return torch.arange(i, i + 2 + i % 5) % 19 + 1, int(i % 3 == 0)


def collate(items):
    tokens = nn.utils.rnn.pad_sequence([t for t, _ in items], batch_first=True)
    length = torch.tensor([len(t) for t, _ in items])
    return {"tokens": tokens, "length": length, "labels": torch.tensor([label for _, label in items])}


torch.manual_seed(0)
subject = landscape.Subject(Reader(), Sentences(), collate=collate)
print(landscape.top_eigenvalues(subject).values[:, 0])
