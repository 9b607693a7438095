"""SWA: stochastic weight averaging.

Izmailov, Podoprikhin, Garipov, Vetrov, Wilson: Averaging Weights Leads to Wider Optima and Better Generalization, UAI
2018, arXiv 1803.05407, algorithm 1 with a constant rate: for a last part of training, the learning rate is constant,
and the weights after every epoch are averaged. The mean predicts, with batch-norm statistics that are computed again on
the training images. For long tails it is how Nam, Jang, Lee (ICLR 2023, arXiv 2304.09426) train features; `crt_swa`
retrains their classifier.
Deviation: before the last part, the recipe's schedule runs to its end in the remaining epochs; in the paper, the rate
falls to the constant one.
"""

from collections.abc import Sequence

from ltbench import Method, Range, Stage


class Swa(Method):
    """Cross-entropy, then the mean of the weights over epochs with a constant learning rate."""

    share = Range(0.25, 0.1, 0.5)  # of the epochs, at the end
    lr = Range(0.05, 0.005, 0.1, log=True)

    def stages(self) -> Sequence[Stage]:
        return (
            Stage(epochs=1 - self.share),
            Stage("average", epochs=self.share, lr=self.lr, schedule="constant", average_from=0.0),
        )
