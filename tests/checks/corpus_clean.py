"""Programs that are right, however wrong they look: nothing may be said of them.

They are written as their users write them: own modules, own loops, and no more told to the watch
than the model and the optimizer, often not even these.
"""

import copy
import math

import torch
import torch.nn.functional as F
from lab import blobs, clean, line, mlp, sgd, told
from torch import nn
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.optim.swa_utils import SWALR, AveragedModel, update_bn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset

# Fine-tuning, freezing, accumulating


@clean("N01")
def accumulation_with_clipping_and_a_warmup_from_zero(lab):
    model, (x, y) = mlp(), blobs()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    warm = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: step / 3 if step < 3 else 0.5 * (1 + math.cos(math.pi * step / 16))
    )
    with lab.watch(model, optimizer, accumulate=4, schedulers=[warm]) as watch:
        for number, (inputs, target) in enumerate(told(watch, x, y, epochs=4, batch_size=16)):
            loss = F.cross_entropy(model(inputs), target) / 4
            loss.backward()
            if (number + 1) % 4 == 0:
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad()
                warm.step()
    return model


@clean("N02")
def a_frozen_backbone_with_batch_norm_in_eval_mode(lab):
    x, y = blobs()
    backbone = nn.Sequential(nn.Linear(10, 32), nn.BatchNorm1d(32), nn.ReLU())
    model = nn.Sequential(backbone, nn.Linear(32, 4))
    backbone.requires_grad_(False)
    optimizer = torch.optim.Adam(model[1].parameters(), lr=1e-2)

    with lab.watch(model, optimizer) as watch:
        model.train()
        backbone.eval()
        for inputs, target in told(watch, x, y):
            loss = F.cross_entropy(model(inputs), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model


@clean("N03")
def a_linear_probe_whose_backbone_still_asks_for_gradients(lab):
    x, y = blobs()
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 4))
    optimizer = sgd(model[2], 0.1)

    with lab.watch(model, optimizer):
        for _ in range(3):
            for rows in torch.randperm(256).split(32):
                model.zero_grad()
                F.cross_entropy(model(x[rows]), y[rows]).backward()
                optimizer.step()
    return model


@clean("gradual-unfreezing")
def layers_are_unfrozen_epoch_by_epoch(lab):
    x, y = blobs()
    model = mlp()
    for layer in (model[0], model[2]):
        layer.requires_grad_(False)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-2)

    with lab.watch(model, optimizer):
        for epoch in range(4):
            if epoch in (1, 2):
                layer = model[2 if epoch == 1 else 0]
                layer.requires_grad_(True)
                optimizer.add_param_group({"params": list(layer.parameters()), "lr": 1e-3})
            for rows in torch.randperm(256).split(64):
                optimizer.zero_grad()
                F.cross_entropy(model(x[rows]), y[rows]).backward()
                optimizer.step()
    return model


@clean("head-then-all")
def first_the_head_with_one_optimizer_then_all_with_another(lab):
    model, (x, y) = mlp(), blobs()
    with lab.watch(model):
        for parameter in model[:4].parameters():
            parameter.requires_grad = False
        optimizer = torch.optim.Adam(model[4].parameters(), lr=1e-2)
        for stage in range(2):
            for rows in torch.randperm(256).split(32):
                optimizer.zero_grad()
                F.cross_entropy(model(x[rows]), y[rows]).backward()
                optimizer.step()
            if stage == 0:
                for parameter in model.parameters():
                    parameter.requires_grad = True
                optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    return model


class Lora(nn.Module):
    """A frozen Linear and a low-rank change of it that begins at zero."""

    def __init__(self, linear, rank=4):
        super().__init__()
        self.linear = linear.requires_grad_(False)
        self.down = nn.Linear(linear.in_features, rank, bias=False)
        self.up = nn.Linear(rank, linear.out_features, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x):
        return self.linear(x) + self.up(self.down(x)) * 2


@clean("lora")
def low_rank_adapters_beside_frozen_weights(lab):
    model, (x, y) = mlp(), blobs()
    model[0], model[2] = Lora(model[0]), Lora(model[2])
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-2)

    with lab.watch(model, optimizer):
        for _ in range(2):
            for rows in torch.randperm(256).split(32):
                loss = F.cross_entropy(model(x[rows]), y[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    return model


class Prompted(nn.Module):
    """A frozen transformer that reads some learnt tokens before the others."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(20, 16)
        self.body = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
        self.head = nn.Linear(16, 2)
        self.requires_grad_(False)
        self.prompt = nn.Parameter(torch.randn(4, 16) * 0.02)

    def forward(self, tokens):
        prompt = self.prompt.expand(len(tokens), -1, -1)
        read = self.body(torch.cat([prompt, self.embedding(tokens)], 1))
        return self.head(read[:, 0])


@clean("prompt-tuning")
def only_the_prompt_learns(lab):
    model = Prompted()
    tokens = torch.randint(0, 20, (64, 8))
    labels = (tokens == 3).any(1).long()
    optimizer = torch.optim.Adam([model.prompt], lr=1e-2)

    with lab.watch(model, optimizer):
        for rows in torch.randperm(64).repeat(2).split(16):
            optimizer.zero_grad()
            F.cross_entropy(model(tokens[rows]), labels[rows]).backward()
            optimizer.step()
    return model


# Several networks, several optimizers


@clean("N04")
def two_networks_play_against_each_other(lab):
    real, _ = blobs()
    maker = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 10))
    judge = nn.Sequential(nn.Linear(10, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))
    optimizer_maker = torch.optim.Adam(maker.parameters(), lr=2e-4, betas=(0.5, 0.999))
    optimizer_judge = torch.optim.Adam(judge.parameters(), lr=2e-4, betas=(0.5, 0.999))
    criterion = nn.BCEWithLogitsLoss()

    with lab.watch([maker, judge], [optimizer_maker, optimizer_judge]):
        for rows in torch.randperm(256).repeat(2).split(32):
            ones, zeros = torch.ones(32, 1), torch.zeros(32, 1)
            fake = maker(torch.randn(32, 4))
            optimizer_judge.zero_grad()
            loss = criterion(judge(real[rows]), ones) + criterion(judge(fake.detach()), zeros)
            loss.backward()
            optimizer_judge.step()
            optimizer_maker.zero_grad()
            criterion(judge(fake), ones).backward()
            optimizer_maker.step()
    return [maker, judge]


@clean("N05")
def a_critic_steps_five_times_and_is_clamped(lab):
    real, _ = blobs()
    maker = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 10))
    critic = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 1))
    optimizer_maker = torch.optim.RMSprop(maker.parameters(), lr=5e-4)
    optimizer_critic = torch.optim.RMSprop(critic.parameters(), lr=5e-4)

    with lab.watch():
        for _ in range(6):
            for _ in range(5):
                batch = real[torch.randint(0, 256, (32,))]
                fake = maker(torch.randn(32, 4)).detach()
                loss = critic(fake).mean() - critic(batch).mean()
                optimizer_critic.zero_grad()
                loss.backward()
                optimizer_critic.step()
                for parameter in critic.parameters():
                    parameter.data.clamp_(-0.05, 0.05)
            optimizer_maker.zero_grad()
            (-critic(maker(torch.randn(32, 4))).mean()).backward()
            optimizer_maker.step()
    return [maker, critic]


@clean("gradient-penalty")
def a_critic_with_a_penalty_on_its_gradient(lab):
    real, _ = blobs()
    maker = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 10))
    critic = nn.Sequential(nn.Linear(10, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))
    optimizer_maker = torch.optim.Adam(maker.parameters(), lr=1e-4, betas=(0.0, 0.9))
    optimizer_critic = torch.optim.Adam(critic.parameters(), lr=1e-4, betas=(0.0, 0.9))

    with lab.watch():
        for step in range(12):
            batch, fake = real[torch.randint(0, 256, (32,))], maker(torch.randn(32, 4)).detach()
            mix = torch.rand(32, 1)
            between = (mix * batch + (1 - mix) * fake).requires_grad_(True)
            slope = torch.autograd.grad(critic(between).sum(), between, create_graph=True)[0]
            loss = critic(fake).mean() - critic(batch).mean()
            loss = loss + 10 * ((slope.norm(2, dim=1) - 1) ** 2).mean()
            optimizer_critic.zero_grad(set_to_none=True)
            loss.backward()
            optimizer_critic.step()
            if step % 3 == 2:
                optimizer_maker.zero_grad(set_to_none=True)
                (-critic(maker(torch.randn(32, 4))).mean()).backward()
                optimizer_maker.step()
    return [maker, critic]


@clean("dqn")
def q_learning_with_a_target_network(lab):
    policy = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 2))
    target = copy.deepcopy(policy)
    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-3)
    memory = []
    state = torch.randn(4)

    with lab.watch(policy, optimizer):
        for step in range(60):
            with torch.no_grad():
                action = int(policy(state).argmax()) if step % 4 else step // 4 % 2
            after = torch.randn(4) * 0.5 + state * 0.5
            memory.append((state, action, float(after[0] * (1 if action else -1)), after))
            state = after
            if len(memory) < 16:
                continue
            batch = [memory[i] for i in torch.randint(0, len(memory), (16,))]
            states, actions, rewards, afters = zip(*batch, strict=True)
            q = policy(torch.stack(states)).gather(1, torch.tensor(actions)[:, None]).squeeze(1)
            with torch.no_grad():
                best = target(torch.stack(afters)).max(1).values
            loss = F.smooth_l1_loss(q, torch.tensor(rewards) + 0.9 * best)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_value_(policy.parameters(), 100)
            optimizer.step()
            if step % 20 == 0:
                target.load_state_dict(policy.state_dict())
    return policy


@clean("sac")
def an_actor_two_critics_and_a_temperature(lab):
    actor = nn.Sequential(nn.Linear(3, 32), nn.ReLU(), nn.Linear(32, 2))
    critics = [nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 1)) for _ in range(2)]
    targets = [copy.deepcopy(critic).requires_grad_(False) for critic in critics]
    log_alpha = torch.zeros(1, requires_grad=True)
    optimizer_actor = torch.optim.Adam(actor.parameters(), lr=3e-4)
    optimizer_critic = torch.optim.Adam([p for c in critics for p in c.parameters()], lr=3e-4)
    optimizer_alpha = torch.optim.Adam([log_alpha], lr=3e-4)

    def act(state):
        mean, deviation = actor(state).chunk(2, 1)
        normal = torch.distributions.Normal(mean, deviation.clamp(-5, 2).exp())
        raw = normal.rsample()
        action = torch.tanh(raw)
        return action, (normal.log_prob(raw) - torch.log(1 - action**2 + 1e-6)).sum(1, True)

    with lab.watch():
        for _ in range(12):
            state, after = torch.randn(32, 3), torch.randn(32, 3)
            action = torch.rand(32, 1) * 2 - 1
            with torch.no_grad():
                next_action, logp = act(after)
                both = torch.cat([after, next_action], 1)
                value = torch.min(*[t(both) for t in targets]) - log_alpha.exp() * logp
                wanted = -(state[:, :1] ** 2) + 0.99 * value
            asked = torch.cat([state, action], 1)
            loss = sum(F.mse_loss(critic(asked), wanted) for critic in critics)
            optimizer_critic.zero_grad()
            loss.backward()
            optimizer_critic.step()
            new, logp = act(state)
            q = torch.min(*[critic(torch.cat([state, new], 1)) for critic in critics])
            optimizer_actor.zero_grad()
            (log_alpha.exp().detach() * logp - q).mean().backward()
            optimizer_actor.step()
            optimizer_alpha.zero_grad()
            (-(log_alpha.exp() * (logp.detach() - 1.0))).mean().backward()
            optimizer_alpha.step()
            with torch.no_grad():
                for critic, slow in zip(critics, targets, strict=True):
                    for p, q in zip(critic.parameters(), slow.parameters(), strict=True):
                        q.mul_(0.995).add_(0.005 * p)
    return [actor, *critics]


@clean("N12")
def reinforce_with_episodes_of_any_length(lab):
    policy = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 2))
    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)

    with lab.watch(policy, optimizer):
        for episode in range(10):
            state, logs, rewards = torch.zeros(4), [], []
            for _ in range(3 + episode % 5):
                choice = torch.distributions.Categorical(logits=policy(state))
                action = choice.sample()
                logs.append(choice.log_prob(action))
                rewards.append(1.0 if int(action) == 1 else -0.2)
                state = torch.randn(4)
            returns = torch.tensor(rewards).flip(0).cumsum(0).flip(0)
            optimizer.zero_grad()
            loss = -(torch.stack(logs) * (returns - returns.mean())).sum()
            loss.backward()
            optimizer.step()
    return policy


@clean("grpo")
def advantages_within_groups_and_a_clipped_ratio(lab):
    torch.manual_seed(7)
    policy = nn.Sequential(nn.Embedding(12, 16), nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 12))
    reference = copy.deepcopy(policy).eval()
    optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-3)

    with lab.watch(policy, optimizer):
        for _ in range(4):
            prompts = torch.randint(0, 12, (6,)).repeat_interleave(4)
            with torch.no_grad():
                logits = policy(prompts)
                answers = torch.distributions.Categorical(logits=logits).sample()
                old = logits.log_softmax(-1).gather(1, answers[:, None]).squeeze(1)
                base = reference(prompts).log_softmax(-1).gather(1, answers[:, None]).squeeze(1)
            reward = (answers == (prompts + 1) % 12).float().view(6, 4)
            advantage = (reward - reward.mean(1, True)) / (reward.std(1, keepdim=True) + 1e-4)
            for _ in range(2):
                new = policy(prompts).log_softmax(-1).gather(1, answers[:, None]).squeeze(1)
                ratio = (new - old).exp()
                gain = torch.min(
                    ratio * advantage.flatten(), ratio.clamp(0.8, 1.2) * advantage.flatten()
                )
                distance = (base - new).exp() - (base - new) - 1
                loss = -(gain - 0.04 * distance).mean()
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(policy.parameters(), 0.1)
                optimizer.step()
    return policy


@clean("ppo")
def an_actor_and_a_critic_share_a_body(lab):
    body = nn.Sequential(nn.Linear(4, 32), nn.Tanh())
    actor, critic = nn.Linear(32, 2), nn.Linear(32, 1)
    nn.init.orthogonal_(actor.weight, 0.01)
    parameters = [*body.parameters(), *actor.parameters(), *critic.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=3e-4, eps=1e-5)

    with lab.watch():
        for _ in range(3):
            state = torch.randn(64, 4)
            with torch.no_grad():
                choice = torch.distributions.Categorical(logits=actor(body(state)))
                action = choice.sample()
                old, value = choice.log_prob(action), critic(body(state)).squeeze(1)
            returns = (action == (state[:, 0] > 0)).float()
            gain = returns - value
            for rows in torch.randperm(64).repeat(3).split(16):
                choice = torch.distributions.Categorical(logits=actor(body(state[rows])))
                ratio = (choice.log_prob(action[rows]) - old[rows]).exp()
                part = gain[rows]
                part = (part - part.mean()) / (part.std() + 1e-8)
                policy_loss = -torch.min(ratio * part, ratio.clamp(0.8, 1.2) * part).mean()
                value_loss = (
                    0.5 * (critic(body(state[rows])).squeeze(1) - returns[rows]).pow(2).mean()
                )
                loss = policy_loss + 0.5 * value_loss - 0.01 * choice.entropy().mean()
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(parameters, 0.5)
                optimizer.step()
    return [body, actor, critic]


@clean("distillation")
def a_student_learns_from_a_teacher(lab):
    x, y = blobs()
    teacher, student = mlp(h=64).eval(), mlp(h=16)
    optimizer = torch.optim.Adam(student.parameters(), lr=3e-3)

    with lab.watch(student, optimizer):
        for rows in torch.randperm(256).repeat(2).split(32):
            with torch.no_grad():
                known = teacher(x[rows])
            logits = student(x[rows])
            soft = F.kl_div(
                F.log_softmax(logits / 4, 1), F.softmax(known / 4, 1), reduction="batchmean"
            )
            loss = 0.7 * 16 * soft + 0.3 * F.cross_entropy(logits, y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return student


@clean("mean-teacher")
def a_teacher_follows_as_a_moving_average(lab):
    x, y = blobs()
    student = mlp(drop=0.1)
    teacher = copy.deepcopy(student)
    for parameter in teacher.parameters():
        parameter.detach_()
    optimizer = sgd(student, 0.05, momentum=0.9)

    with lab.watch(student, optimizer):
        for rows in torch.randperm(256).repeat(2).split(64):
            labelled = rows[:16]
            logits = student(x[rows] + 0.1 * torch.randn(64, 10))
            with torch.no_grad():
                wanted = teacher(x[rows] + 0.1 * torch.randn(64, 10)).softmax(1)
            loss = F.cross_entropy(logits[:16], y[labelled])
            loss = loss + F.mse_loss(logits.softmax(1), wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                for slow, fast in zip(teacher.parameters(), student.parameters(), strict=True):
                    slow.mul_(0.99).add_(fast, alpha=0.01)
    return [student, teacher]


@clean("byol")
def two_views_without_negatives(lab):
    x, _ = blobs()
    online = nn.Sequential(nn.Linear(10, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 16))
    predictor = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 16))
    target = copy.deepcopy(online).requires_grad_(False)
    optimizer = torch.optim.Adam([*online.parameters(), *predictor.parameters()], lr=1e-3)

    with lab.watch([online, predictor, target], optimizer):
        for rows in torch.randperm(256).split(32):
            one = x[rows] + 0.2 * torch.randn(32, 10)
            two = x[rows] + 0.2 * torch.randn(32, 10)
            with torch.no_grad():
                goals = target(two), target(one)
            guesses = predictor(online(one)), predictor(online(two))
            loss = sum(
                (2 - 2 * F.cosine_similarity(guess, goal.detach(), dim=-1)).mean()
                for guess, goal in zip(guesses, goals, strict=True)
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            for slow, fast in zip(target.parameters(), online.parameters(), strict=True):
                slow.data = 0.99 * slow.data + 0.01 * fast.data
    return [online, predictor]


# Language, sequences, graphs


class Speaker(nn.Module):
    """A small causal transformer whose output weights are its embedding."""

    def __init__(self, words=24, width=16):
        super().__init__()
        self.words = nn.Embedding(words, width, padding_idx=0)
        nn.init.normal_(self.words.weight, std=0.02)
        self.places = nn.Parameter(torch.zeros(1, 32, width))
        self.body = nn.TransformerEncoderLayer(width, 2, 32, dropout=0.1, batch_first=True)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, words, bias=False)
        self.head.weight = self.words.weight

    def forward(self, tokens):
        length = tokens.shape[1]
        mask = torch.triu(torch.full((length, length), float("-inf")), 1)
        x = self.words(tokens) + self.places[:, :length]
        return self.head(self.norm(self.body(x, mask)))


@clean("N06")
def a_tied_language_model_with_padding(lab):
    model = Speaker()
    tokens = torch.randint(1, 24, (32, 12))
    tokens[::3, 8:] = 0
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    with lab.watch(model, optimizer):
        for rows in torch.randperm(32).repeat(3).split(8):
            batch = tokens[rows]
            logits = model(batch[:, :-1])
            loss = F.cross_entropy(logits.reshape(-1, 24), batch[:, 1:].reshape(-1), ignore_index=0)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
    return model


@clean("N13")
def truncated_backpropagation_through_time(lab):
    cell, head = nn.LSTM(1, 16, batch_first=True), nn.Linear(16, 1)
    wave = torch.sin(torch.arange(0, 401) * 0.2).view(1, -1, 1)
    optimizer = torch.optim.Adam([*cell.parameters(), *head.parameters()], lr=1e-2)

    with lab.watch():
        for _ in range(2):
            state = None
            for start in range(0, 400, 25):
                out, state = cell(wave[:, start : start + 25], state)
                state = tuple(part.detach() for part in state)
                loss = F.mse_loss(head(out), wave[:, start + 1 : start + 26])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    return [cell, head]


@clean("packed")
def sequences_of_any_length_packed(lab):
    torch.manual_seed(5)
    embedding, cell = nn.Embedding(12, 8, padding_idx=0), nn.GRU(8, 16, batch_first=True)
    head = nn.Linear(16, 2)
    model = nn.ModuleDict({"embedding": embedding, "cell": cell, "head": head})
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)

    with lab.watch(model, optimizer):
        for _ in range(10):
            lengths = torch.randint(3, 9, (16,))
            tokens = torch.randint(1, 12, (16, 8))
            tokens[torch.arange(8)[None] >= lengths[:, None]] = 0
            labels = (tokens == 5).any(1).long()
            packed = nn.utils.rnn.pack_padded_sequence(
                embedding(tokens), lengths, batch_first=True, enforce_sorted=False
            )
            _, last = cell(packed)
            loss = F.cross_entropy(head(last[-1]), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model


@clean("ctc")
def labels_without_alignment(lab):
    model = nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, 5))
    criterion = nn.CTCLoss(zero_infinity=True)
    sounds, words = torch.randn(8, 20, 6), torch.randint(1, 5, (8, 4))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    with lab.watch(model, optimizer):
        for _ in range(8):
            scores = model(sounds).log_softmax(2).transpose(0, 1)
            loss = criterion(scores, words, torch.full((8,), 20), torch.full((8,), 4))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model


@clean("N08")
def a_sparse_embedding_beside_a_dense_head(lab):
    words, head = nn.EmbeddingBag(200, 16, sparse=True), nn.Linear(16, 4)
    sparse = torch.optim.SparseAdam(words.parameters(), lr=1e-2)
    dense = torch.optim.Adam(head.parameters(), lr=1e-3)
    tokens = torch.randint(0, 40, (256, 5))
    labels = tokens[:, 0] % 4

    with lab.watch([words, head], [sparse, dense]):
        for rows in torch.randperm(256).split(32):
            sparse.zero_grad()
            dense.zero_grad()
            F.cross_entropy(head(words(tokens[rows])), labels[rows]).backward()
            sparse.step()
            dense.step()
    return [words, head]


@clean("word2vec")
def skip_grams_with_negatives(lab):
    inner, outer = nn.Embedding(50, 16), nn.Embedding(50, 16)
    nn.init.uniform_(inner.weight, -0.5 / 16, 0.5 / 16)
    nn.init.zeros_(outer.weight)
    optimizer = torch.optim.SGD([*inner.parameters(), *outer.parameters()], lr=1.0)

    with lab.watch():
        for _ in range(16):
            centre = torch.randint(0, 50, (32,))
            near, far = (centre + 1) % 50, torch.randint(0, 50, (32, 5))
            v = inner(centre)
            close = F.logsigmoid((v * outer(near)).sum(1))
            apart = F.logsigmoid(-torch.einsum("bd,bkd->bk", v, outer(far))).sum(1)
            loss = -(close + apart).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return [inner, outer]


class Experts(nn.Module):
    """A mixture in which each row asks one expert only."""

    def __init__(self, experts=6):
        super().__init__()
        self.gate = nn.Linear(10, experts)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 4)) for _ in range(experts)
        )

    def forward(self, x):
        share, chosen = self.gate(x).softmax(1).max(1)
        out = torch.zeros(len(x), 4)
        for number, expert in enumerate(self.experts):
            rows = (chosen == number).nonzero().squeeze(1)
            if len(rows):
                out = out.index_add(0, rows, expert(x[rows]) * share[rows, None])
        return out


@clean("N09")
def a_mixture_of_experts_some_of_which_rest(lab):
    model, (x, y) = Experts(), blobs()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    with lab.watch(model, optimizer):
        for rows in torch.randperm(256).repeat(2).split(16):
            optimizer.zero_grad()
            F.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
    return model


class Gcn(nn.Module):
    """Two layers that mix each node with its neighbours."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(10, 16, bias=False), nn.Linear(16, 4, bias=False)

    def forward(self, x, links):
        x = F.dropout(F.relu(links @ self.first(x)), 0.5, self.training)
        return links @ self.second(x)


@clean("N16")
def a_graph_network_on_one_full_batch(lab):
    x, y = blobs(n=80)
    links = (y[:, None] == y[None, :]).float() * (torch.rand(80, 80) < 0.2) + torch.eye(80)
    links = links / links.sum(1, keepdim=True)
    known = torch.arange(80) < 40
    model = Gcn()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, weight_decay=5e-4)

    with lab.watch(model, optimizer):
        for _ in range(20):
            model.train()
            optimizer.zero_grad()
            F.cross_entropy(model(x, links)[known], y[known]).backward()
            optimizer.step()
            model.eval()
            with torch.no_grad():
                (model(x, links).argmax(1) == y)[~known].float().mean()
    return model


# Losses over pairs, generative models


@clean("N14")
def contrast_with_the_rest_of_the_batch(lab):
    x, _ = blobs()
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 16))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    with lab.watch(model, optimizer):
        for rows in torch.randperm(256).split(32):
            one = F.normalize(model(x[rows] + 0.1 * torch.randn(32, 10)), dim=1)
            two = F.normalize(model(x[rows] + 0.1 * torch.randn(32, 10)), dim=1)
            logits, labels = one @ two.T / 0.1, torch.arange(32)
            loss = (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model


class Clip(nn.Module):
    """Two encoders and a temperature between them."""

    def __init__(self):
        super().__init__()
        self.seen, self.said = mlp(10, 32, 16), mlp(6, 32, 16)
        self.scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def forward(self, seen, said):
        seen, said = F.normalize(self.seen(seen), dim=-1), F.normalize(self.said(said), dim=-1)
        return self.scale.exp().clamp(max=100) * seen @ said.t()


@clean("clip")
def pictures_and_words_in_one_space(lab):
    model, (x, _) = Clip(), blobs()
    words = x @ torch.randn(10, 6) * 0.3
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1)

    with lab.watch(model, optimizer):
        for rows in torch.randperm(256).split(32):
            logits = model(x[rows], words[rows])
            labels = torch.arange(32)
            loss = (F.cross_entropy(logits, labels) + F.cross_entropy(logits.t(), labels)) / 2
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model


@clean("N15")
def supervised_contrast_over_all_pairs(lab):
    x, y = blobs()
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 16))
    optimizer = sgd(model, 0.05, momentum=0.9)

    with lab.watch(model, optimizer):
        for rows in torch.randperm(256).split(32):
            z = F.normalize(model(x[rows]), dim=1)
            alike = y[rows][:, None] == y[rows][None, :]
            alike = alike.float() * (1 - torch.eye(32))
            logits = z @ z.T / 0.2 - 1e9 * torch.eye(32)
            logp = logits.log_softmax(1)
            loss = -((alike * logp).sum(1) / alike.sum(1).clamp(min=1)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model


@clean("triplet")
def anchors_positives_negatives(lab):
    x, y = blobs()
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 8))
    criterion = nn.TripletMarginLoss(margin=1.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    groups = [(y == label).nonzero().squeeze(1) for label in range(4)]

    with lab.watch(model, optimizer):
        for step in range(12):
            mine, other = groups[step % 4], groups[(step + 1) % 4]
            a, p = (mine[torch.randint(0, len(mine), (24,))] for _ in range(2))
            n = other[torch.randint(0, len(other), (24,))]
            optimizer.zero_grad()
            criterion(model(x[a]), model(x[p]), model(x[n])).backward()
            optimizer.step()
    return model


@clean("siamese")
def pairs_alike_or_not_with_a_hinge(lab):
    x, y = blobs()
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 8))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    with lab.watch(model, optimizer):
        for _ in range(12):
            one, two = torch.randint(0, 256, (2, 32))
            same = (y[one] == y[two]).float()
            distance = F.pairwise_distance(model(x[one]), model(x[two]))
            loss = (same * distance**2 + (1 - same) * F.relu(1.0 - distance) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model


class Vae(nn.Module):
    """A variational autoencoder."""

    def __init__(self):
        super().__init__()
        self.body, self.mean, self.log_variance = (
            nn.Linear(10, 32),
            nn.Linear(32, 3),
            nn.Linear(32, 3),
        )
        self.out = nn.Sequential(nn.Linear(3, 32), nn.ReLU(), nn.Linear(32, 10), nn.Sigmoid())

    def forward(self, x):
        h = F.relu(self.body(x))
        mean, log_variance = self.mean(h), self.log_variance(h)
        z = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        return self.out(z), mean, log_variance


@clean("N11")
def a_variational_autoencoder(lab):
    model, (x, _) = Vae(), blobs()
    x = torch.sigmoid(x)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    with lab.watch(model, optimizer):
        for rows in torch.randperm(256).split(32):
            optimizer.zero_grad()
            seen, mean, log_variance = model(x[rows])
            loss = F.binary_cross_entropy(seen, x[rows], reduction="sum")
            loss += -0.5 * torch.sum(1 + log_variance - mean.pow(2) - log_variance.exp())
            loss.backward()
            optimizer.step()
    return model


@clean("autoencoder")
def an_autoencoder_of_noisy_rows(lab):
    x, _ = blobs()
    x = (x - x.mean(0)) / x.std(0)
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 3))
    model.extend([nn.Linear(3, 32), nn.ReLU(), nn.Linear(32, 10)])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    with lab.watch(model, optimizer):
        for rows in torch.randperm(256).split(32):
            optimizer.zero_grad()
            F.mse_loss(model(x[rows] + 0.3 * torch.randn(32, 10)), x[rows]).backward()
            optimizer.step()
    return model


class Vq(nn.Module):
    """An autoencoder with a codebook and a straight-through gradient."""

    def __init__(self):
        super().__init__()
        self.encode, self.decode = mlp(10, 24, 4), mlp(4, 24, 10)
        self.codes = nn.Embedding(16, 4)

    def forward(self, x):
        z = self.encode(x)
        nearest = torch.cdist(z, self.codes.weight).argmin(1)
        code = self.codes(nearest)
        loss = F.mse_loss(code, z.detach()) + 0.25 * F.mse_loss(z, code.detach())
        return self.decode(z + (code - z).detach()), loss


@clean("vq-vae")
def a_codebook_with_a_straight_through_gradient(lab):
    model, (x, _) = Vq(), blobs()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    with lab.watch(model, optimizer):
        for rows in torch.randperm(256).split(32):
            seen, extra = model(x[rows])
            loss = F.mse_loss(seen, x[rows]) + extra
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model


@clean("diffusion")
def noise_is_learnt_at_random_times(lab):
    x, _ = blobs()
    x = x / x.std()
    times = nn.Embedding(50, 16)
    body = nn.Sequential(nn.Linear(26, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU())
    out = nn.Linear(64, 10)
    nn.init.zeros_(out.weight)
    nn.init.zeros_(out.bias)
    parameters = [p for part in (times, body, out) for p in part.parameters()]
    average = [p.detach().clone() for p in parameters]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3)
    kept = torch.cumprod(1 - torch.linspace(1e-4, 0.1, 50), 0)

    with lab.watch():
        for rows in torch.randperm(256).repeat(2).split(32):
            t, noise = torch.randint(0, 50, (32,)), torch.randn(32, 10)
            share = kept[t][:, None]
            noisy = share.sqrt() * x[rows] + (1 - share).sqrt() * noise
            loss = F.mse_loss(out(body(torch.cat([noisy, times(t)], 1))), noise)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            for slow, fast in zip(average, parameters, strict=True):
                slow.lerp_(fast.detach(), 0.01)
    return [times, body, out]


class Coupling(nn.Module):
    """An affine coupling layer, whose last layer begins at zero."""

    def __init__(self, flip):
        super().__init__()
        self.flip = flip
        self.net = nn.Sequential(nn.Linear(5, 24), nn.ReLU(), nn.Linear(24, 10))
        nn.init.zeros_(self.net[-1].weight)
        nn.init.zeros_(self.net[-1].bias)

    def forward(self, x):
        one, two = x.flip(1).chunk(2, 1) if self.flip else x.chunk(2, 1)
        scale, shift = self.net(one).chunk(2, 1)
        scale = torch.tanh(scale)
        return torch.cat([one, two * scale.exp() + shift], 1), scale.sum(1)


@clean("flow")
def a_normalising_flow(lab):
    x, _ = blobs()
    x = (x - x.mean(0)) / x.std(0)
    model = nn.ModuleList([Coupling(False), Coupling(True), Coupling(True)])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    with lab.watch(model, optimizer):
        for rows in torch.randperm(256).split(32):
            z, volume = x[rows], 0
            for layer in model:
                z, more = layer(z)
                volume = volume + more
            loss = (0.5 * z.pow(2).sum(1) - volume).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model


# Optimizers and what goes around a step


@clean("N07")
def lbfgs_asks_for_the_loss_itself(lab):
    x, y = line()
    model = nn.Linear(10, 1)
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=5)

    with lab.watch(model, optimizer):
        for _ in range(6):

            def closure():
                optimizer.zero_grad()
                loss = F.mse_loss(model(x), y)
                loss.backward()
                return loss

            optimizer.step(closure)
    return model


class Sam(torch.optim.Optimizer):
    """Sharpness-aware minimisation around another optimizer."""

    def __init__(self, parameters, base, rho=0.05, **options):
        super().__init__(parameters, {"rho": rho, **options})
        self.base_optimizer = base(self.param_groups, **options)
        self.param_groups = self.base_optimizer.param_groups

    @torch.no_grad()
    def first_step(self):
        parameters = [p for group in self.param_groups for p in group["params"]]
        norm = torch.stack([p.grad.norm() for p in parameters]).norm()
        for p in parameters:
            self.state[p]["way"] = p.grad * (0.05 / (norm + 1e-12))
            p.add_(self.state[p]["way"])
        self.zero_grad()

    @torch.no_grad()
    def second_step(self):
        for group in self.param_groups:
            for p in group["params"]:
                p.sub_(self.state[p]["way"])
        self.base_optimizer.step()
        self.zero_grad()


@clean("sam")
def two_backward_passes_for_one_step(lab):
    model, (x, y) = mlp(), blobs()
    optimizer = Sam(model.parameters(), torch.optim.SGD, lr=0.05, momentum=0.9)

    with lab.watch(model):
        for rows in torch.randperm(256).repeat(2).split(32):
            F.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.first_step()
            F.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.second_step()
    return model


@clean("lookahead")
def slow_weights_every_five_steps(lab):
    model, (x, y) = mlp(), blobs()
    optimizer = sgd(model, 0.1)
    slow = [p.detach().clone() for p in model.parameters()]

    with lab.watch(model, optimizer):
        for number, rows in enumerate(torch.randperm(256).repeat(3).split(32)):
            optimizer.zero_grad()
            F.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
            if number % 5 == 4:
                with torch.no_grad():
                    for kept, p in zip(slow, model.parameters(), strict=True):
                        kept.add_(0.5 * (p - kept))
                        p.copy_(kept)
    return model


@clean("swa")
def stochastic_weight_averaging(lab):
    model, (x, y) = mlp(bn=True), blobs()
    loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)
    optimizer = sgd(model, 0.05)
    average, schedule = AveragedModel(model), SWALR(optimizer, swa_lr=0.02)

    with lab.watch(model, optimizer):
        for epoch in range(3):
            for inputs, target in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(inputs), target).backward()
                optimizer.step()
            if epoch > 0:
                average.update_parameters(model)
                schedule.step()
        update_bn(loader, average)
    return model


@clean("restarts")
def cosine_restarts_within_epochs(lab):
    model, (x, y) = mlp(), blobs()
    optimizer = sgd(model, 0.1, momentum=0.9, nesterov=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 2, 2)

    with lab.watch(model, optimizer, schedulers=[schedule]) as watch:
        for number, (inputs, target) in enumerate(told(watch, x, y, epochs=6, batch_size=64)):
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), target).backward()
            optimizer.step()
            schedule.step(number / 4)
    return model


@clean("one-cycle")
def one_cycle_to_almost_nothing(lab):
    model, (x, y) = mlp(), blobs()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=24)

    with lab.watch(model, optimizer):
        for _ in range(3):
            for rows in torch.randperm(256).split(32):
                optimizer.zero_grad()
                F.cross_entropy(model(x[rows]), y[rows]).backward()
                optimizer.step()
                schedule.step()
    return model


@clean("plateau")
def the_rate_falls_when_validation_stands_still(lab):
    model, (x, y), (xv, yv) = mlp(), blobs(), blobs(seed=4)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
    best, kept = math.inf, None

    with lab.watch(model, optimizer):
        for _ in range(4):
            model.train()
            for rows in torch.randperm(256).split(64):
                optimizer.zero_grad()
                F.cross_entropy(model(x[rows]), y[rows]).backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                loss = F.cross_entropy(model(xv), yv).item()
            schedule.step(loss)
            if loss < best:
                best, kept = loss, copy.deepcopy(model.state_dict())
        model.load_state_dict(kept)
    return model


@clean("N10")
def autocast_with_a_scaler(lab):
    model, (x, y) = mlp(), blobs()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    scaler = torch.amp.GradScaler("cpu")

    with lab.watch(model, optimizer):
        for rows in torch.randperm(256).split(32):
            optimizer.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = F.cross_entropy(model(x[rows]), y[rows])
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
    return model


@clean("scaler-skips")
def a_scale_so_large_that_the_first_steps_are_left_out(lab):
    model, (x, y) = nn.Linear(10, 4), blobs()
    optimizer = sgd(model, 0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)

    with lab.watch(model, optimizer):
        for rows in torch.randperm(256).repeat(2).split(32):
            optimizer.zero_grad()
            scaler.scale(F.cross_entropy(model(x[rows]), y[rows])).backward()
            scaler.step(optimizer)
            scaler.update()
    return model


@clean("skip-nan")
def a_batch_without_any_finite_loss_is_left_out(lab):
    model, (x, y) = mlp(c=1), line()
    x = x.clone()
    x[70, 2] = float("nan")
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    with lab.watch(model, optimizer):
        for start in range(0, 256, 32):
            loss = F.mse_loss(model(x[start : start + 32]), y[start : start + 32])
            optimizer.zero_grad()
            if not torch.isfinite(loss):
                continue
            loss.backward()
            optimizer.step()
    return model


@clean("bf16")
def low_precision_weights_with_a_full_precision_copy(lab):
    model, (x, y) = mlp(), blobs()
    masters = [p.detach().clone().requires_grad_() for p in model.parameters()]
    model.bfloat16()
    optimizer = torch.optim.AdamW(masters, lr=1e-3)

    with lab.watch(model, optimizer):
        for rows in torch.randperm(256).split(32):
            model.zero_grad()
            loss = F.cross_entropy(model(x[rows].bfloat16()).float(), y[rows])
            loss.backward()
            for master, p in zip(masters, model.parameters(), strict=True):
                master.grad = p.grad.float()
            optimizer.step()
            with torch.no_grad():
                for master, p in zip(masters, model.parameters(), strict=True):
                    p.copy_(master)
    return model


@clean("stochastic-rounding")
def low_precision_weights_rounded_at_random(lab):
    model, (x, y) = mlp().bfloat16(), blobs()
    noise = torch.Generator().manual_seed(0)

    with lab.watch(model):
        for rows in torch.randperm(256).split(32):
            model.zero_grad()
            F.cross_entropy(model(x[rows].bfloat16()).float(), y[rows]).backward()
            with torch.no_grad():
                for p in model.parameters():
                    exact = p.float() - 0.05 * p.grad.float()
                    bits = exact.view(torch.int32)
                    bits = bits + torch.randint(
                        0, 2**16, bits.shape, generator=noise, dtype=torch.int32
                    )
                    p.copy_((bits & -65536).view(torch.float32).bfloat16())
    return model


@clean("hand-written")
def gradient_descent_by_hand(lab):
    x, y = line()
    w, b = torch.zeros(10, 1, requires_grad=True), torch.zeros(1, requires_grad=True)

    with lab.watch():
        for _ in range(20):
            loss = ((x @ w + b - y) ** 2).mean()
            loss.backward()
            with torch.no_grad():
                w -= 0.1 * w.grad
                b -= 0.1 * b.grad
            w.grad = None
            b.grad = None
    return nn.Linear(1, 1)


@clean("logistic")
def logistic_regression_from_zero(lab):
    x, y = blobs(c=2)
    model = nn.Linear(10, 1)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    optimizer = sgd(model, 0.1)

    with lab.watch(model, optimizer):
        for _ in range(15):
            optimizer.zero_grad()
            probability = torch.sigmoid(model(x)).squeeze(1)
            F.binary_cross_entropy(probability, y.float()).backward()
            optimizer.step()
    return model


@clean("by-hand-sync")
def gradients_of_two_replicas_are_averaged_by_hand(lab):
    x, y = blobs()
    ranks = [mlp() for _ in range(2)]
    ranks[1].load_state_dict(ranks[0].state_dict())
    optimizers = [sgd(rank, 0.05, momentum=0.9) for rank in ranks]

    with lab.watch(ranks, optimizers):
        for rows in torch.randperm(256).split(32):
            for rank, optimizer, part in zip(ranks, optimizers, rows.chunk(2), strict=True):
                optimizer.zero_grad()
                F.cross_entropy(rank(x[part]), y[part]).backward()
            for pair in zip(*[rank.parameters() for rank in ranks], strict=True):
                mean = (pair[0].grad + pair[1].grad) / 2
                for p in pair:
                    p.grad.copy_(mean)
            for optimizer in optimizers:
                optimizer.step()
    return ranks


@clean("private")
def gradients_row_by_row_clipped_and_noisy(lab):
    model, (x, y) = nn.Sequential(nn.Linear(10, 16), nn.Tanh(), nn.Linear(16, 4)), blobs()
    optimizer = sgd(model, 0.1)

    def loss(weights, row, label):
        return F.cross_entropy(functional_call(model, weights, row[None]), label[None])

    with lab.watch(model, optimizer):
        for rows in torch.randperm(256)[:128].split(32):
            weights = {name: p.detach() for name, p in model.named_parameters()}
            each = vmap(grad(loss), in_dims=(None, 0, 0))(weights, x[rows], y[rows])
            norms = torch.stack([g.flatten(1).norm(dim=1) for g in each.values()]).norm(dim=0)
            share = (1.0 / (norms + 1e-6)).clamp(max=1.0)
            for name, p in model.named_parameters():
                total = torch.einsum("b,b...->...", share, each[name])
                p.grad = (total + 0.1 * torch.randn_like(total)) / 32
            optimizer.step()
    return model


# Ways to see a model


@clean("ensemble")
def an_ensemble_in_one_call(lab):
    x, y = blobs()
    members = [mlp() for _ in range(3)]
    weights, buffers = stack_module_state(members)
    skeleton = copy.deepcopy(members[0]).to("meta")
    optimizer = torch.optim.Adam(list(weights.values()), lr=1e-3)

    def member(weights, buffers, x):
        return functional_call(skeleton, (weights, buffers), (x,))

    with lab.watch(optimizer=optimizer):
        for rows in torch.randperm(256).split(32):
            logits = vmap(member, in_dims=(0, 0, None))(weights, buffers, x[rows])
            loss = F.cross_entropy(logits.flatten(0, 1), y[rows].repeat(3))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return members


@clean("maml")
def learning_to_learn_with_gradients_of_gradients(lab):
    model = nn.Sequential(nn.Linear(1, 24), nn.ReLU(), nn.Linear(24, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    with lab.watch(model, optimizer):
        for _ in range(8):
            total = 0.0
            for _ in range(3):
                phase, x = torch.rand(1) * 3, torch.rand(20, 1) * 6 - 3
                y = torch.sin(x + phase)
                fast = dict(model.named_parameters())
                inner = F.mse_loss(functional_call(model, fast, (x[:10],)), y[:10])
                slopes = torch.autograd.grad(inner, list(fast.values()), create_graph=True)
                fast = {n: p - 0.1 * g for (n, p), g in zip(fast.items(), slopes, strict=True)}
                total = total + F.mse_loss(functional_call(model, fast, (x[10:],)), y[10:])
            optimizer.zero_grad()
            (total / 3).backward()
            optimizer.step()
    return model


@clean("reptile")
def weights_move_towards_those_of_a_short_training(lab):
    model = nn.Sequential(nn.Linear(1, 24), nn.Tanh(), nn.Linear(24, 1))
    with lab.watch(model):
        for _ in range(5):
            before = copy.deepcopy(model.state_dict())
            phase = torch.rand(1) * 3
            inner = torch.optim.SGD(model.parameters(), lr=0.02)
            for _ in range(4):
                x = torch.rand(16, 1) * 6 - 3
                inner.zero_grad()
                F.mse_loss(model(x), torch.sin(x + phase)).backward()
                inner.step()
            after = model.state_dict()
            model.load_state_dict({k: before[k] + 0.5 * (after[k] - before[k]) for k in before})
    return model


@clean("pinn")
def a_differential_equation_is_the_loss(lab):
    model = nn.Sequential(nn.Linear(1, 24), nn.Tanh(), nn.Linear(24, 24), nn.Tanh())
    model.append(nn.Linear(24, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    start = torch.zeros(1, 1)

    with lab.watch(model, optimizer):
        for _ in range(15):
            t = torch.rand(32, 1).requires_grad_(True)
            u = model(t)
            du = torch.autograd.grad(u, t, torch.ones_like(u), create_graph=True)[0]
            ddu = torch.autograd.grad(du, t, torch.ones_like(du), create_graph=True)[0]
            loss = (ddu + u).pow(2).mean() + (model(start) - 1).pow(2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model


class Checkpointed(nn.Module):
    """Computes its blocks again in backward, to save memory."""

    def __init__(self):
        super().__init__()
        self.stem, self.head = nn.Linear(10, 24), nn.Linear(24, 4)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(24, 24), nn.ReLU(), nn.Dropout(0.1)) for _ in range(3)
        )

    def forward(self, x):
        x = F.relu(self.stem(x))
        for block in self.blocks:
            x = x + checkpoint(block, x, use_reentrant=False)
        return self.head(x)


@clean("checkpointing")
def activations_are_computed_again(lab):
    model, (x, y) = Checkpointed(), blobs()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    with lab.watch(model, optimizer):
        for rows in torch.randperm(256).split(32):
            optimizer.zero_grad()
            F.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
    return model


class Rounded(torch.autograd.Function):
    """Rounds forward, and lets the gradient through."""

    @staticmethod
    def forward(ctx, x, levels):
        return (x * levels).round() / levels

    @staticmethod
    def backward(ctx, slope):
        return slope, None


class Quantised(nn.Linear):
    """A Linear that computes with weights of 4 bits."""

    def forward(self, x):
        scale = self.weight.detach().abs().max()
        return F.linear(x, Rounded.apply(self.weight / scale, 7) * scale, self.bias)


@clean("quantisation-aware")
def weights_of_four_bits_with_a_straight_through_gradient(lab):
    x, y = blobs()
    model = nn.Sequential(Quantised(10, 32), nn.ReLU(), Quantised(32, 4))
    optimizer = sgd(model, 0.05, momentum=0.9)

    with lab.watch(model, optimizer):
        for rows in torch.randperm(256).split(32):
            optimizer.zero_grad()
            F.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
    return model


@clean("pruning")
def small_weights_are_cut_and_stay_zero(lab):
    model, (x, y) = mlp(), blobs()
    masks = {}
    optimizer = sgd(model, 0.05)

    with lab.watch(model, optimizer):
        for epoch in range(3):
            if epoch == 1:
                for name, p in model.named_parameters():
                    if p.ndim > 1:
                        masks[name] = (p.abs() > p.abs().quantile(0.6)).float()
            for rows in torch.randperm(256).split(32):
                optimizer.zero_grad()
                F.cross_entropy(model(x[rows]), y[rows]).backward()
                optimizer.step()
                with torch.no_grad():
                    for name, p in model.named_parameters():
                        if name in masks:
                            p.mul_(masks[name])
    return model


@clean("spectral-norm")
def weights_behind_parametrisations(lab):
    x, y = blobs()
    model = nn.Sequential(
        nn.utils.parametrizations.spectral_norm(nn.Linear(10, 32)),
        nn.ReLU(),
        nn.utils.parametrizations.weight_norm(nn.Linear(32, 4)),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)

    with lab.watch(model, optimizer):
        for rows in torch.randperm(256).split(32):
            optimizer.zero_grad()
            F.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
    return model


class Spectral(nn.Module):
    """Mixes by complex weights between a Fourier transform and its inverse."""

    def __init__(self):
        super().__init__()
        self.lift, self.head = nn.Linear(1, 8), nn.Linear(8, 1)
        self.waves = nn.Parameter(torch.randn(8, 8, 6, dtype=torch.cfloat) / 8)

    def forward(self, x):
        z = self.lift(x.unsqueeze(-1))
        waves = torch.fft.rfft(z, dim=1)
        mixed = torch.zeros_like(waves)
        mixed[:, :6] = torch.einsum("bki,iok->bko", waves[:, :6], self.waves)
        return self.head(F.gelu(torch.fft.irfft(mixed, n=x.shape[1], dim=1) + z)).squeeze(-1)


@clean("complex")
def weights_that_are_complex_numbers(lab):
    model = Spectral()
    x = torch.randn(64, 16).cumsum(1) / 4
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    with lab.watch(model, optimizer):
        for rows in torch.randperm(64).repeat(2).split(16):
            optimizer.zero_grad()
            F.mse_loss(model(x[rows]), x[rows].roll(1, 1)).backward()
            optimizer.step()
    return model


class Reservoir(nn.Module):
    """Random layers that never learn, and a readout that does."""

    def __init__(self):
        super().__init__()
        self.register_buffer("inward", torch.randn(10, 60) / 4)
        self.register_buffer("around", torch.randn(60, 60) / 60**0.5 * 0.9)
        self.readout = nn.Linear(60, 4)

    def forward(self, x):
        state = torch.tanh(x @ self.inward)
        for _ in range(3):
            state = torch.tanh(state @ self.around + x @ self.inward)
        return self.readout(state)


@clean("reservoir")
def only_the_readout_learns(lab):
    model, (x, y) = Reservoir(), blobs()
    optimizer = torch.optim.Adam(model.readout.parameters(), lr=1e-2)

    with lab.watch(model, optimizer):
        for rows in torch.randperm(256).split(32):
            optimizer.zero_grad()
            F.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
    return model


@clean("progressive")
def a_network_grows_while_it_trains(lab):
    x, y = blobs()
    model = nn.Sequential(nn.Linear(10, 24), nn.ReLU(), nn.Linear(24, 4))
    with lab.watch(model):
        for stage in range(3):
            if stage:
                block = nn.Linear(24, 24)
                nn.init.eye_(block.weight)
                nn.init.zeros_(block.bias)
                model.insert(len(model) - 1, block)
                model.insert(len(model) - 1, nn.ReLU())
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
            for rows in torch.randperm(256).split(32):
                optimizer.zero_grad()
                F.cross_entropy(model(x[rows]), y[rows]).backward()
                optimizer.step()
    return model


@clean("test-time")
def batch_norm_adapts_to_new_data_by_entropy(lab):
    model, (x, y) = mlp(bn=True), blobs()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(20):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    model.requires_grad_(False)
    norm = model[1]
    norm.requires_grad_(True)
    norm.track_running_stats = False
    adapt = torch.optim.Adam(norm.parameters(), lr=1e-3)
    shifted = x * 1.3 + 0.5

    with lab.watch(model, adapt):
        model.train()
        for rows in torch.randperm(256).split(32):
            logits = model(shifted[rows])
            loss = -(logits.softmax(1) * logits.log_softmax(1)).sum(1).mean()
            adapt.zero_grad()
            loss.backward()
            adapt.step()
    return model


@clean("k-fold")
def a_new_model_for_each_fold(lab):
    x, y = blobs()
    models = []
    with lab.watch():
        for fold in range(4):
            held = torch.arange(256) % 4 == fold
            model = mlp()
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
            for rows in (~held).nonzero().squeeze(1).split(32):
                model.train()
                optimizer.zero_grad()
                F.cross_entropy(model(x[rows]), y[rows]).backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                (model(x[held]).argmax(1) == y[held]).float().mean()
            models.append(model)
    return models


@clean("adversarial")
def inputs_are_moved_against_the_model(lab):
    model, (x, y) = mlp(), blobs()
    optimizer = sgd(model, 0.05, momentum=0.9)

    with lab.watch(model, optimizer):
        for rows in torch.randperm(256).split(32):
            inputs = x[rows].clone().requires_grad_(True)
            F.cross_entropy(model(inputs), y[rows]).backward()
            moved = (inputs + 0.1 * inputs.grad.sign()).detach()
            optimizer.zero_grad()
            F.cross_entropy(model(moved), y[rows]).backward()
            optimizer.step()
    return model


@clean("style")
def a_picture_is_what_is_learnt(lab):
    net = nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Conv2d(6, 6, 3)).requires_grad_(False)
    wanted = net(torch.randn(1, 1, 8, 8))
    picture = torch.randn(1, 1, 8, 8, requires_grad=True)
    optimizer = torch.optim.Adam([picture], lr=0.05)

    with lab.watch(net.eval(), optimizer):
        for _ in range(15):
            optimizer.zero_grad()
            F.mse_loss(net(picture), wanted).backward()
            optimizer.step()
    return net


# Targets and several losses


@clean("label-smoothing")
def smooth_labels_and_mixed_rows(lab):
    model, (x, y) = mlp(drop=0.1), blobs()
    criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)

    with lab.watch(model, optimizer):
        for rows in torch.randperm(256).split(32):
            share = float(torch.distributions.Beta(0.4, 0.4).sample())
            other = rows[torch.randperm(32)]
            mixed = share * x[rows] + (1 - share) * x[other]
            logits = model(mixed)
            loss = share * criterion(logits, y[rows]) + (1 - share) * criterion(logits, y[other])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model


@clean("focal")
def easy_rows_count_less(lab):
    x, y = blobs(c=2)
    model = mlp(c=1)
    target = ((y == 1) & (x[:, 0] > 0)).float()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    with lab.watch(model, optimizer):
        for rows in torch.randperm(256).split(32):
            logits = model(x[rows]).squeeze(-1)
            each = F.binary_cross_entropy_with_logits(logits, target[rows], reduction="none")
            p = torch.exp(-each)
            loss = (0.25 * (1 - p) ** 2 * each).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model


class Tasks(nn.Module):
    """One body, three heads, and a learnt weight for each loss."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(10, 32), nn.ReLU())
        self.kind, self.size, self.sign = nn.Linear(32, 4), nn.Linear(32, 1), nn.Linear(32, 1)
        self.log_weights = nn.Parameter(torch.zeros(3))

    def forward(self, x):
        h = self.body(x)
        return self.kind(h), self.size(h).squeeze(1), self.sign(h).squeeze(1)


@clean("multi-task")
def three_losses_weighted_by_uncertainty(lab):
    model, (x, y) = Tasks(), blobs()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    with lab.watch(model, optimizer):
        for rows in torch.randperm(256).split(32):
            kind, size, sign = model(x[rows])
            losses = torch.stack(
                [
                    F.cross_entropy(kind, y[rows]),
                    F.mse_loss(size, x[rows].norm(dim=1) / 5),
                    F.binary_cross_entropy_with_logits(sign, (x[rows, 0] > 0).float()),
                ]
            )
            loss = (losses * torch.exp(-model.log_weights) + model.log_weights).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model


@clean("alternating-tasks")
def each_step_trains_another_head(lab):
    model, (x, y) = Tasks(), blobs()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    with lab.watch(model, optimizer):
        for number, rows in enumerate(torch.randperm(256).repeat(2).split(32)):
            kind, size, sign = model(x[rows])
            if number % 3 == 0:
                loss = F.cross_entropy(kind, y[rows])
            elif number % 3 == 1:
                loss = F.l1_loss(size, x[rows].norm(dim=1))
            else:
                loss = F.binary_cross_entropy_with_logits(sign, (x[rows, 0] > 0).float())
            optimizer.zero_grad()
            (loss + 0 * model.log_weights.sum()).backward()
            optimizer.step()
    return model


@clean("two-backwards")
def each_loss_goes_backward_on_its_own(lab):
    model, (x, y) = Tasks(), blobs()
    optimizer = sgd(model, 0.05)

    with lab.watch(model, optimizer):
        for rows in torch.randperm(256).split(32):
            optimizer.zero_grad()
            kind, size, sign = model(x[rows])
            (F.cross_entropy(kind, y[rows]) + model.log_weights.pow(2).sum()).backward(
                retain_graph=True
            )
            (0.01 * sign.pow(2).mean()).backward(retain_graph=True)
            (0.1 * F.mse_loss(size, x[rows].norm(dim=1))).backward()
            optimizer.step()
    return model


@clean("normal-likelihood")
def mean_and_variance_are_both_learnt(lab):
    x, y = line()
    body, mean = nn.Sequential(nn.Linear(10, 24), nn.ReLU()), nn.Linear(24, 1)
    variance = nn.Sequential(nn.Linear(24, 1), nn.Softplus())
    model = nn.ModuleList([body, mean, variance])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)

    with lab.watch(model, optimizer):
        for rows in torch.randperm(256).repeat(2).split(32):
            h = body(x[rows])
            loss = F.gaussian_nll_loss(mean(h), y[rows], variance(h) + 1e-4)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model


@clean("house-prices")
def targets_of_hundreds_of_thousands_are_scaled(lab):
    x, y = line()
    price = y * 80_000 + 250_000
    middle, spread = price.mean(), price.std()
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 1))
    loader = DataLoader(TensorDataset(x, (price - middle) / spread), batch_size=32, shuffle=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    with lab.watch(model, optimizer):
        for _ in range(2):
            model.train()
            for inputs, target in loader:
                optimizer.zero_grad()
                loss = F.huber_loss(model(inputs), target)
                loss.backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                ((model(x) * spread + middle) - price).abs().mean()
    return model


class Unet(nn.Module):
    """A small U-Net with a skip connection and batch norm."""

    def __init__(self):
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.deep = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.up = nn.ConvTranspose2d(8, 8, 2, 2)
        self.out = nn.Conv2d(16, 1, 1)

    def forward(self, x):
        x = self.down(x)
        return self.out(torch.cat([x, self.up(self.deep(F.max_pool2d(x, 2)))], 1))


@clean("segmentation")
def every_pixel_is_a_label_with_dice(lab):
    model = Unet()
    pictures = torch.rand(24, 1, 16, 16)
    masks = (F.avg_pool2d(pictures, 3, 1, 1) > 0.5).float()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    with lab.watch(model, optimizer):
        for rows in torch.randperm(24).split(6):
            logits = model(pictures[rows])
            p = torch.sigmoid(logits)
            overlap = (p * masks[rows]).sum((1, 2, 3))
            sizes = (p + masks[rows]).sum((1, 2, 3))
            dice = 1 - ((2 * overlap + 1) / (sizes + 1)).mean()
            loss = dice + F.binary_cross_entropy_with_logits(logits, masks[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model


class Block(nn.Module):
    """A residual block whose branch begins at zero."""

    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.branch = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        self.gate = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return x + self.gate * self.branch(self.norm(x))


@clean("rezero")
def residual_branches_begin_closed(lab):
    x, y = blobs()
    model = nn.Sequential(nn.Linear(10, 16), *[Block(16) for _ in range(6)], nn.Linear(16, 4))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)

    with lab.watch(model, optimizer):
        for rows in torch.randperm(256).split(32):
            optimizer.zero_grad()
            F.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
    return model


@clean("layer-drop")
def layers_are_left_out_at_random(lab):
    x, y = blobs()
    stem, head = nn.Linear(10, 24), nn.Linear(24, 4)
    blocks = nn.ModuleList(nn.Sequential(nn.Linear(24, 24), nn.ReLU()) for _ in range(4))
    model = nn.ModuleList([stem, blocks, head])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    with lab.watch(model, optimizer):
        for rows in torch.randperm(256).repeat(2).split(32):
            h = F.relu(stem(x[rows]))
            for block in blocks:
                if torch.rand(1) > 0.5:
                    h = h + block(h)
            optimizer.zero_grad()
            F.cross_entropy(head(h), y[rows]).backward()
            optimizer.step()
    return model


@clean("muon-like")
def matrices_and_vectors_have_optimizers_of_their_own(lab):
    model, (x, y) = mlp(), blobs()
    matrices = torch.optim.SGD(
        [p for p in model.parameters() if p.ndim > 1], lr=0.02, momentum=0.95
    )
    vectors = torch.optim.AdamW([p for p in model.parameters() if p.ndim < 2], lr=1e-3)

    with lab.watch(model):
        for rows in torch.randperm(256).split(32):
            F.cross_entropy(model(x[rows]), y[rows]).backward()
            for p in model.parameters():
                if p.ndim > 1:
                    left, _, right = torch.linalg.svd(p.grad, full_matrices=False)
                    p.grad = left @ right
            matrices.step()
            vectors.step()
            model.zero_grad(set_to_none=True)
    return model


@clean("gradient-surgery")
def gradients_of_two_tasks_are_projected(lab):
    model, (x, y) = Tasks(), blobs()
    shared = list(model.body.parameters())
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    with lab.watch(model, optimizer):
        for rows in torch.randperm(256).split(32):
            kind, size, sign = model(x[rows])
            one = F.cross_entropy(kind, y[rows])
            two = F.mse_loss(size, x[rows].norm(dim=1) / 5) + sign.pow(2).mean()
            first = torch.autograd.grad(one, shared, retain_graph=True)
            second = torch.autograd.grad(two, shared, retain_graph=True)
            optimizer.zero_grad()
            (one + two + model.log_weights.pow(2).sum()).backward()
            for p, a, b in zip(shared, first, second, strict=True):
                dot = (a * b).sum()
                p.grad = a + b - (dot.clamp(max=0) / (b.norm() ** 2 + 1e-12)) * b
            optimizer.step()
    return model
