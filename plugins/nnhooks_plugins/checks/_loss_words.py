"""The long stories of mistakes in what loss functions are given."""

EXPLAINED = {
    "one-class": """
A softmax over a single output is 1, and its cross entropy 0, whatever the model says: there is no
gradient, and nothing is learned.

Wrong:
    model = nn.Linear(8, 1)
    loss = F.cross_entropy(model(x), y)                 # always 0

Right:
    model = nn.Linear(8, 1)
    loss = F.binary_cross_entropy_with_logits(model(x).squeeze(1), y.float())
""",
    "softmax-over-batch": """
A softmax over dimension 0 lets the rows of a batch compete with one another. The outputs of a row
then depend on the other rows, and do not sum to 1.

Wrong:
    loss = F.nll_loss(F.log_softmax(model(x), dim=0), y)

Right:
    loss = F.nll_loss(F.log_softmax(model(x), dim=1), y)
""",
    "double-softmax": """
cross_entropy takes the softmax itself. Given probabilities, it squashes them once more: the loss
cannot get near 0, and gradients are small.

Wrong:
    model = nn.Sequential(nn.Linear(8, 4), nn.Softmax(dim=1))
    loss = F.cross_entropy(model(x), y)

Right:
    model = nn.Linear(8, 4)
    loss = F.cross_entropy(model(x), y)
""",
    "double-sigmoid": """
binary_cross_entropy_with_logits takes the sigmoid itself. Given probabilities, it can say nothing
below 0.5 and nothing above 0.731.

Wrong:
    loss = F.binary_cross_entropy_with_logits(model(x).sigmoid(), y)

Right:
    loss = F.binary_cross_entropy_with_logits(model(x), y)
""",
    "sigmoid-before-ce": """
cross_entropy needs logits of any size. Outputs of a sigmoid or tanh are bounded, so that no class
can ever get a probability near 1.

Wrong:
    model = nn.Sequential(nn.Linear(8, 4), nn.Sigmoid())
    loss = F.cross_entropy(model(x), y)

Right:
    model = nn.Linear(8, 4)
    loss = F.cross_entropy(model(x), y)
""",
    "relu-before-loss": """
A ReLU after the last layer cuts off all logits below 0, and their gradients with them. A class that
is cut off in every row is never learned.

Wrong:
    model = nn.Sequential(nn.Linear(8, 4), nn.ReLU())
    loss = F.cross_entropy(model(x), y)

Right:
    model = nn.Linear(8, 4)
    loss = F.cross_entropy(model(x), y)
""",
    "class-dim": """
cross_entropy takes the classes from dimension 1. Where the classes are elsewhere, or logits and
labels are flattened in different orders, each position is held against the label of another.

Wrong:
    logits = model(x)                                   # (batch, time, classes)
    loss = F.cross_entropy(logits.transpose(0, 1).reshape(-1, classes), y.reshape(-1))

Right:
    loss = F.cross_entropy(logits.reshape(-1, classes), y.reshape(-1))
    loss = F.cross_entropy(logits.transpose(1, 2), y)   # the same
""",
    "ignore-everything": """
Labels equal to ignore_index do not count. If that is all of them, the mean loss is 0/0.

Wrong:
    y = torch.full((32,), -100)
    loss = F.cross_entropy(model(x), y)                 # nan

Right:
    if (y != -100).any():
        loss = F.cross_entropy(model(x), y)
""",
    "weight-negative": """
A negative weight turns the sign of the loss of a class: its mistakes are rewarded.

Wrong:
    loss = F.cross_entropy(model(x), y, weight=1 - counts)

Right:
    loss = F.cross_entropy(model(x), y, weight=counts.sum() / counts)
""",
    "weight-inverted": """
Weights are there to make rare classes count. Weights that grow with the counts do the reverse.

Wrong:
    loss = F.cross_entropy(model(x), y, weight=counts / counts.sum())
    loss = F.binary_cross_entropy_with_logits(model(x), y, pos_weight=positives / negatives)

Right:
    loss = F.cross_entropy(model(x), y, weight=counts.sum() / counts)
    loss = F.binary_cross_entropy_with_logits(model(x), y, pos_weight=negatives / positives)
""",
    "soft-target-not-prob": """
Labels of floating point with the shape of the logits are taken as probabilities of the classes.
If their rows do not sum to 1, the loss has no sensible least value.

Wrong:
    loss = F.cross_entropy(model(x), several_hot)       # rows such as 1, 0, 1, 1

Right:
    loss = F.binary_cross_entropy_with_logits(model(x), several_hot)
    loss = F.cross_entropy(model(x), several_hot / several_hot.sum(1, keepdim=True))
""",
    "nll-not-logprob": """
nll_loss takes log-probabilities and only picks those of the labels. Given logits or probabilities,
it falls without end.

Wrong:
    loss = F.nll_loss(model(x), y)

Right:
    loss = F.nll_loss(F.log_softmax(model(x), dim=1), y)
    loss = F.cross_entropy(model(x), y)                 # the same
""",
    "kl-not-logprob": """
kl_div takes log-probabilities first, and probabilities as target.

Wrong:
    loss = F.kl_div(logits.softmax(1), target, reduction="batchmean")

Right:
    loss = F.kl_div(logits.log_softmax(1), target, reduction="batchmean")
""",
    "kl-target": """
The target of kl_div are probabilities, or their logarithms with log_target=True.

Wrong:
    loss = F.kl_div(student.log_softmax(1), teacher.log_softmax(1), reduction="batchmean")

Right:
    loss = F.kl_div(student.log_softmax(1), teacher.log_softmax(1), log_target=True,
                    reduction="batchmean")
""",
    "loss-arguments-swapped": """
The prediction comes first, the label second. The reverse takes the logarithm of the label.

Wrong:
    loss = F.binary_cross_entropy(y, model(x))

Right:
    loss = F.binary_cross_entropy(model(x), y)
""",
    "bce-target-range": """
Binary cross entropy is meant for targets of 0 to 1. For others it falls below 0 without end.

Wrong:
    loss = F.binary_cross_entropy_with_logits(model(x), y.float())      # y is 0, 1, 2, 3

Right:
    loss = F.cross_entropy(model(x), y)                                 # with four outputs
    loss = F.binary_cross_entropy_with_logits(model(x), (y > 1).float())
""",
    "poisson-not-log": """
poisson_nll_loss takes the logarithm of the rate unless told otherwise.

Wrong:
    loss = F.poisson_nll_loss(model(x).exp(), y)

Right:
    loss = F.poisson_nll_loss(model(x), y)
    loss = F.poisson_nll_loss(model(x).exp(), y, log_input=False)
""",
    "target-not-sign": """
This loss takes targets of 1 and -1. A 0 is no "no": it counts as nothing, or as something else.

Wrong:
    loss = F.soft_margin_loss(model(x), y.float())      # y is 0 or 1

Right:
    loss = F.soft_margin_loss(model(x), 2 * y.float() - 1)
""",
}
