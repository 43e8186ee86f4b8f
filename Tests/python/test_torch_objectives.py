"""The objective in PyTorch beside its formulas written as loops, and beside the notebook's of objective.py."""

import dataclasses
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from deepinfomax.compare import notebook, objective  # noqa: E402
from deepinfomax.torch import Settings, losses, modules, train  # noqa: E402
from deepinfomax.torch import objectives as O  # noqa: E402

#: Everything here is small: threads would wait for each other.
torch.set_num_threads(1)

TINY = {
    "image": {"channels": 1, "height": 8, "width": 6, "mean": 0.5, "std": 0.5},
    "encoder": {
        "layers": [
            {"op": "conv", "name": "c0", "out": 6, "kernel": 3, "stride": 2, "padding": 1, "activation": "relu"},
            {"op": "conv", "name": "c1", "out": 5, "kernel": 2, "norm": "batch", "activation": "relu"},
            {"op": "flatten"},
            {"op": "linear", "name": "l0", "out": 7},
        ],
        "features": "c0",
    },
    "local": {"score": "dot", "net": "light", "units": 8},
    "global": {"score": "dot", "net": "copy", "units": 8},
    "prior": {"hidden": [9, 5], "squash": "sigmoid"},
    "coordinates": {"hidden": [9]},
}
HEADS = {
    "light": {},
    "authors": {"local": {"score": "dot", "units": 8}, "global": {"score": "dot", "units": 8, "input": "conv"}},
    "concat": {
        "local": {"score": "concat", "hidden": [6]},
        "global": {"score": "concat", "hidden": [6], "layers": [{"op": "conv", "name": "c0", "out": 3, "kernel": 2}]},
    },
}


def tiny(head="light", seed=0):
    torch.manual_seed(seed)
    return modules(TINY | HEADS[head]).double().train()


def images(n=5, seed=1):
    return torch.rand(n, 1, 8, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# ---- Measures


def scores():
    torch.manual_seed(0)
    return 3 * torch.randn(4, 4, 6, dtype=torch.float64)  # S[i, j, l]


PLUS = {
    "gan": lambda t: -math.log(1 + math.exp(-t)),
    "jsd": lambda t: math.log(2) - math.log(1 + math.exp(-t)),
    "kl": lambda t: t,
    "rkl": lambda t: -math.exp(-t),
    "h2": lambda t: 1 - math.exp(-t),
}
MINUS = {
    "gan": lambda t: math.log(1 + math.exp(t)),
    "jsd": lambda t: math.log(1 + math.exp(t)) - math.log(2),
    "kl": lambda t: math.exp(t - 1),
    "rkl": lambda t: t - 1,
    "h2": lambda t: math.exp(t) - 1,
}


def by_loops(measure, S):
    S = S.detach()
    n, _, L = S.shape
    positives = [S[i, i, location].item() for i in range(n) for location in range(L)]
    negatives = [S[i, j, location].item() for i in range(n) for j in range(n) if i != j for location in range(L)]
    if measure == "dv":
        return math.log(sum(map(math.exp, negatives)) / len(negatives)) - sum(positives) / len(positives)
    if measure == "nce":
        total = 0.0
        for i in range(n):
            others = sum(math.exp(S[j, i, location]) for j in range(n) if j != i for location in range(L))
            for location in range(L):
                t = S[i, i, location].item()
                total -= t - math.log(math.exp(t) + others)
        return total / (n * L)
    mean = lambda function, values: sum(map(function, values)) / len(values)  # noqa: E731
    return mean(MINUS[measure], negatives) - mean(PLUS[measure], positives)


class Table(O.Head):
    """A head whose scores are given."""

    def __init__(self, S):
        super().__init__()
        self.S = S

    def maps(self, M):
        return torch.arange(len(M))

    def vectors(self, y):
        return torch.arange(len(y))

    def score(self, v, m):
        return self.S[m, v][:, None]

    def score_pairs(self, v, m):
        return self.S[m][:, v]


@pytest.mark.parametrize("measure", O.MEASURES)
def test_measures_are_their_formulas(measure):
    S = scores()
    found = O.term(Table(S), S, S, Settings(measure=measure))
    assert found.item() == pytest.approx(by_loops(measure, S), rel=1e-12)


@pytest.mark.parametrize("measure", O.MEASURES)
def test_all_negatives_given_one_by_one(measure):
    S = scores()
    others = torch.tensor([[i for i in range(4) if i != j] for j in range(4)])
    found = O.term(Table(S), S, S, Settings(measure=measure), others)
    assert found.item() == pytest.approx(by_loops(measure, S), rel=1e-12)


def test_rotation_takes_the_next_images_map():
    S = scores()
    found = O.term(Table(S), S, S, Settings(measure="kl", negatives="rotation"))
    negatives = torch.stack([S[(j + 1) % 4, j] for j in range(4)])
    positives = torch.stack([S[j, j] for j in range(4)])
    assert found.item() == pytest.approx((torch.exp(negatives - 1).mean() - positives.mean()).item())


def test_jsd_is_gan_shifted():
    S = scores()
    gan, jsd = (O.term(Table(S), S, S, Settings(measure=name)).item() for name in ("gan", "jsd"))
    assert jsd == pytest.approx(gan - 2 * math.log(2))


def test_large_scores_stay_finite():
    """Of +-1e4 in float32; but for the one sign at which the formula itself overflows."""
    S = scores().float()
    overflows = {("kl", 1), ("h2", 1), ("h2", -1), ("rkl", -1)}
    for measure in O.MEASURES:
        for sign in 1, -1:
            for own in True, False:
                t = S.clone()
                chosen = torch.eye(4, dtype=torch.bool) if own else ~torch.eye(4, dtype=torch.bool)
                t[chosen] = sign * 1e4
                t.requires_grad_()
                value = O.term(Table(t), t, t, Settings(measure=measure))
                value.backward()
                finite = bool(value.isfinite()) and bool(t.grad.isfinite().all())
                expected = not ((sign == (-1 if own else 1)) and (measure, sign) in overflows)
                assert finite == expected, (measure, sign, own)


# ---- Against the notebook's objective


@pytest.mark.parametrize("prior", ["monolithic", "adversarial"])
def test_the_notebooks_objective(prior):
    theirs = notebook.networks(0).train()
    ours = modules("notebook").double().train()
    ours.load_state_dict(theirs.state_dict())
    x = torch.rand(3, 3, 32, 32, dtype=torch.float64)
    settings = dataclasses.replace(O.NOTEBOOK, prior=prior)
    torch.manual_seed(1)
    expected = objective.losses(theirs, x, prior)
    gradients = objective.gradients(theirs, expected)
    torch.manual_seed(1)
    found = losses(ours, x, settings)
    assert found.numbers() == pytest.approx(expected.numbers(), rel=1e-12)
    for name, gradient in O.gradients(ours, found, settings).items():
        scale = max(float(other.abs().max()) for key, other in gradients.items() if key[:8] == name[:8])
        torch.testing.assert_close(gradient, gradients.pop(name), rtol=0, atol=1e-9 * scale)
    assert not gradients


# ---- Negatives, locations


def test_drawn_negatives_are_a_shuffles_first_places():
    torch.manual_seed(9)
    found = O.drawn_negatives(6, 3)
    after = torch.rand(1)
    bits = np.random.RandomState(9)  # The same Mersenne Twister.
    for j in range(6):
        others = [i for i in range(6) if i != j]
        for s in range(3):
            r = s + int(bits.randint(0, 2**32, dtype=np.uint32)) % (5 - s)
            others[s], others[r] = others[r], others[s]
        assert found[j].tolist() == others[:3]
    torch.manual_seed(9)
    for _ in range(18):
        torch.randint(0, 5, ())
    assert torch.equal(torch.rand(1), after)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("negatives", ["all", "rotation", 2])
def test_draws_are_those_that_may_be_given(head, negatives):
    """The global term's negatives are drawn first, then the local term's, then the prior's samples."""
    net, x = tiny(head), images()
    settings = Settings(negatives=negatives, alpha=0.5, prior="adversarial", gamma=0.1)
    torch.manual_seed(3)
    found = losses(net, x, settings).numbers()
    torch.manual_seed(3)
    if negatives == 2:
        of_global, of_local = O.drawn_negatives(5, 2), O.drawn_negatives(5, 2)
    else:
        of_global = of_local = O.rotation(5) if negatives == "rotation" else None
    u = torch.rand(5, 7)
    with_global = losses(net, x, settings, noise=u, negatives=of_global).numbers()
    with_local = losses(net, x, settings, noise=u, negatives=of_local).numbers()
    assert found[1:] == pytest.approx([with_local[1], with_global[2], with_local[3]], rel=1e-12)


def test_chosen_locations():
    net, x = tiny(), images()
    cells = torch.tensor([[0, 5, 11, 3]] * 5)  # Of 4 x 3.
    found = losses(net, x, Settings(locations=4), locations=cells).local
    y, M = net.encoder(x)[:2]
    S = net.local_d.pairs(y, M).flatten(2)[:, :, cells[0]]
    assert found.item() == pytest.approx(by_loops("nce", S), rel=1e-9)
    everything = losses(net, x, Settings(locations=12)).local.item()
    assert everything == pytest.approx(losses(net, x, Settings()).local.item(), rel=1e-9)


# ---- The prior


def test_the_prior_terms():
    net, x = tiny(), images()
    u = torch.rand(5, 7, dtype=torch.float64)
    weights = {"alpha": 0.5, "beta": 1.0, "gamma": 0.1}
    found = losses(net, x, Settings(prior="adversarial", gradient_penalty=2.0, **weights), noise=u)
    y = net.encoder(x).encoded
    p_u, p_y = (torch.sigmoid(net.prior_d.logit(v)) for v in (u, torch.sigmoid(y)))
    assert found.prior.item() == pytest.approx(-(p_u.log().mean() + (1 - p_y).log().mean()).item())
    pairs = 0.5 * found.global_.item() + found.local.item()
    assert found.total.item() == pytest.approx(pairs + 0.1 * found.prior.item())
    assert found.encoder.item() == pytest.approx(pairs - 0.1 * p_y.log().mean().item())
    assert found.discriminators.item() == pytest.approx(found.total.item() + 0.2 * found.penalty.item())
    monolithic = losses(net, x, Settings(prior="monolithic", gradient_penalty=2.0, **weights), noise=u)
    assert monolithic.encoder.item() == monolithic.total.item() == monolithic.discriminators.item()


def test_the_penalty_by_finite_differences():
    net, x = tiny(), images()
    prior_d = net.prior_d
    u = torch.rand(5, 7, dtype=torch.float64)
    settings = Settings(prior="adversarial", gamma=1.0, gradient_penalty=1.0)

    def slope(samples):
        total = 0.0
        for i in range(7):
            e = torch.zeros(7, dtype=torch.float64)
            e[i] = 1e-6
            total += ((prior_d.logit(samples + e) - prior_d.logit(samples - e)) / 2e-6).square().mean().item()
        return total

    def penalty():
        return O.prior_terms(prior_d, y, u, settings)[2]

    y = net.encoder(x).encoded.detach()
    assert penalty().item() == pytest.approx(0.5 * (slope(u) + slope(torch.sigmoid(y))), rel=1e-5)
    weight = prior_d.l0.weight
    (gradient,) = torch.autograd.grad(penalty(), weight)
    for index in (0, 0), (3, 5), (8, 6):
        with torch.no_grad():
            values = []
            for sign in 1, -1:
                weight[index] += sign * 1e-5
                values.append(penalty().item())
                weight[index] -= sign * 1e-5
        assert (values[0] - values[1]) / 2e-5 == pytest.approx(gradient[index].item(), rel=1e-4, abs=1e-8)


def test_the_penalty_reaches_the_prior_discriminator_alone():
    net, x = tiny(), images()
    both = []
    for weight in 0.0, 5.0:
        settings = Settings(prior="adversarial", gamma=0.1, gradient_penalty=weight, alpha=0.5)
        found = losses(net, x, settings, noise=torch.full((5, 7), 0.3))
        both.append(O.gradients(net, found, settings))
    changed = {name.split(".")[0] for name in both[0] if not torch.allclose(both[0][name], both[1][name])}
    assert changed == {"prior_d"}


# ---- Structure


def test_absolute_coordinates():
    logits = torch.randn(2, 4 + 3, 4, 3, dtype=torch.float64)
    expected = torch.zeros(())
    for n in range(2):
        for i in range(4):
            for j in range(3):
                expected -= torch.log_softmax(logits[n, :4, i, j], 0)[i] + torch.log_softmax(logits[n, 4:, i, j], 0)[j]
    assert O.absolute_coordinates(logits).item() == pytest.approx(expected.item() / 24)


def test_relative_coordinates():
    logits = torch.randn(2, 4 + 3, 4, 3, dtype=torch.float64)
    partners = torch.randint(0, 12, (2, 12))
    expected = 0.0
    for n in range(2):
        for cell in range(12):
            (i, j), (k, m) = divmod(cell, 3), divmod(int(partners[n, cell]), 3)
            here, there = logits[n, :, i, j], logits[n, :, k, m]
            for part, d, size in (slice(0, 4), i - k, 4), (slice(4, 7), j - m, 3):
                p, q = torch.softmax(here[part], 0), torch.softmax(there[part], 0)
                expected -= math.log(sum(p[r] * q[r - d] for r in range(size) if 0 <= r - d < size))
    assert O.relative_coordinates(logits, partners).item() == pytest.approx(expected / 24)


def test_relative_coordinates_have_a_gradient():
    logits = torch.randn(1, 5, 3, 2, dtype=torch.float64, requires_grad=True)
    partners = torch.tensor([[5, 4, 3, 2, 1, 0]])
    assert torch.autograd.gradcheck(lambda t: O.relative_coordinates(t, partners), logits)


def test_occlusion_hides_from_the_vector_alone():
    net, x = tiny().eval(), images()
    boxes = torch.tensor([[1, 2, 4, 3]] * 5)
    hidden = x.clone()
    hidden[:, :, 1:5, 2:5] = 0.5
    assert torch.equal(O.occluded(net, x, boxes), hidden)
    found = losses(net, x, Settings(occlusion=True), boxes=boxes).local
    S = net.local_d.pairs(net.encoder(hidden).encoded, net.encoder(x).features).flatten(2)
    assert found.item() == pytest.approx(by_loops("nce", S), rel=1e-9)


def test_each_image_has_a_box_of_its_own():
    torch.manual_seed(0)
    boxes = O.drawn_boxes(images(64))
    assert (boxes[:, 2] == 4).all() and (boxes[:, 3] == 3).all()
    assert set(boxes[:, 0].tolist()) == set(range(5)) and set(boxes[:, 1].tolist()) == set(range(4))


# ---- Training


@pytest.mark.parametrize("measure", O.MEASURES)
@pytest.mark.parametrize("head", HEADS)
def test_all_terms_at_once_stay_finite(measure, head):
    net = tiny(head).float()
    settings = Settings(
        measure=measure,
        alpha=0.5,
        gamma=0.1,
        prior="adversarial",
        gradient_penalty=1.0,
        coordinates="relative",
        occlusion=True,
        locations=7,
    )
    found = [one.numbers() for one in train(net, [images(8).float()] * 5, settings, seed=0)]
    assert np.isfinite(found).all()
    assert all(p.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize("measure", O.MEASURES)
def test_training_lowers_the_loss(measure):
    net = tiny().float()
    settings = Settings(measure=measure, encoder_lr=3e-3, discriminator_lr=3e-3)
    found = [one.local.item() for one in train(net, [images(8).float()] * 30, settings)]
    assert found[-1] < found[0]


def test_what_has_no_weight_is_not_trained():
    net = tiny()
    before = {name: p.clone() for name, p in net.named_parameters()}
    list(train(net, [images()], Settings(weight_decay=0.1), seed=0))
    moved = {name.split(".")[0] for name, p in net.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {"encoder", "local_d"}


def test_a_term_without_its_network():
    torch.manual_seed(0)
    net = modules(TINY | {"global": None})
    with pytest.raises(ValueError, match="alpha is over 0, but the architecture has no global_d"):
        losses(net, images().float(), Settings(alpha=0.5))


@pytest.mark.parametrize("wrong", [{"measure": "x2"}, {"negatives": 0}, {"prior": "uniform"}, {"coordinates": "x"}])
def test_wrong_settings(wrong):
    with pytest.raises(ValueError, match="expected"):
        Settings(**wrong)
