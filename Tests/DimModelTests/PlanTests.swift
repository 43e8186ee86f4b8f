import DimArchitecture
import DimOperators
import DimRuntime
import Testing

@testable import DimModel

@Suite struct PlanTests {
    /// What is alive together has memory of its own: no slot of a plan is another's.
    @Test("slots", arguments: Architecture.presetNames) func slots(_ preset: String) throws {
        let plan = LayerPlan(try #require(Architecture.preset(preset)))
        var heads = [plan.local, plan.global, plan.coordinates].compactMap { $0 }
        if let head = plan.local(locations: 3) { heads.append(head) }
        let stacks =
            [plan.encoder, plan.prior, plan.classifier].compactMap { $0 } + heads.flatMap(\.stacks)
        let slots =
            plan.slots.all + heads.flatMap { $0.slots.all }
            + stacks.flatMap { stack in stack.slots.all + stack.all.flatMap { $0.slots.all } }
        #expect(Set(slots).count == slots.count)
        #expect(slots.count > 30)
    }

    /// In evaluation mode layers take each other's memory, and images go through the layers together.
    @Test("memory of evaluation", arguments: Architecture.presetNames) func evaluationMemory(_ preset: String) throws {
        let plan = LayerPlan(try #require(Architecture.preset(preset)))
        let floats = plan.encoder.evaluationMemory.floats
        let outputs = plan.encoder.all.reduce(0) { $0 + Activation.count($1.output, images: 1) }
        #expect(plan.block >= 50)
        #expect(floats < outputs)
        if preset == "resnet19_32" { #expect(floats * 3 < outputs) }
    }

    /// No layer writes over what a later one reads, and what callers read after the pass is there.
    @Test("evaluation keeps", arguments: Architecture.presetNames) func evaluationKeeps(_ preset: String) throws {
        let plan = LayerPlan(try #require(Architecture.preset(preset)))
        let memory = plan.encoder.evaluationMemory.slots
        // A residual block whose sum is in its last layer's memory has none of its own.
        func place(_ node: Stack.Node) -> BufferSlot? {
            if case .residual(let children, _) = node.operation, let last = children.last, last.outputIsFree {
                return place(last)
            }
            return memory[node.slots[.output]] ?? memory[node.slots[.beforeNorm]]
        }
        let nodes = plan.encoder.nodes
        let kept = [plan.features, plan.conv, plan.fc, nodes.last].compactMap { $0 }
        for (position, node) in nodes.enumerated() {
            let own = try #require(place(node))
            let after = kept.contains { $0.index == node.index } ? nodes.count : min(position + 2, nodes.count)
            for later in nodes[(position + 1)..<after] { #expect(place(later) != own) }
            if case .residual(let children, let shortcut?) = node.operation {
                let (inner, other) = (place(try #require(children.last)), place(shortcut))
                #expect(inner != other)  // The sum reads both.
                if position > 0 { #expect(place(nodes[position - 1]) != other) }
            }
        }
    }

    /// Which plan, and what it says of the two modes.
    @Test func choice() throws {
        for architecture in Architecture.presetNames.compactMap(Architecture.preset) {
            let plan = try Model(architecture, seed: 1).plan
            #expect((plan is FusedPlan) == architecture.isNotebook)
            #expect(plan.layers.architecture == architecture)
            for network in architecture.networks {
                #expect(
                    plan.dependsOnMode(network) == plan.layers.dependsOnMode(network), "\(network) of \(architecture)")
            }
        }
        // Not by the name of a preset: the notebook's networks, whoever describes them.
        var other = Architecture.notebook
        other.classifier?.classes = 11
        #expect(try Model(other, seed: 1).plan is LayerPlan)
    }

    /// A batch whose statistics a model may not hold is refused by either plan, and nothing has changed.
    @Test("overflow", arguments: ["notebook", "basic32"]) func overflow(_ preset: String) throws {
        let model = try Model(try #require(Architecture.preset(preset)), seed: 1)
        model.isTraining = true
        let before = try model.snapshot(.encoder)
        let n = 2
        let images = try Buffer(uninitialized: n * model.sizes.image.size)
        var random = MersenneTwister(seed: 2)
        for i in 0..<images.count { images.pointer[i] = random.uniform() * 1e25 }
        let encoded = try Buffer(zeros: n * model.sizes.encoded)
        #expect(throws: DimError.self) {
            try model.encode(images.pointer, count: n, EncodedOutputs(encoded: encoded.pointer))
        }
        #expect(try model.snapshot(.encoder) === before)
        #expect(encoded.array.allSatisfy { $0 == 0 })
    }

    /// Both plans of the notebook's networks compute the same but for rounding: what the fused passes are allowed to be.
    @Test("both plans", arguments: [false, true]) func bothPlans(_ isTraining: Bool) throws {
        let model = try Model(.notebook, seed: 5)
        let (n, sizes) = (3, model.sizes)
        var random = MersenneTwister(seed: 6)
        let images = try Buffer((0..<n * sizes.image.size).map { _ in random.uniform() })
        func outputs(_ plan: any NetworkPlan) throws -> [[Float]] {
            let encoded = try Buffer(zeros: n * sizes.encoded), features = try Buffer(zeros: n * sizes.features.size)
            let global = try Buffer(zeros: n), local = try Buffer(zeros: n * sizes.local!.size)
            let prior = try Buffer(zeros: n), classes = try Buffer(zeros: n * sizes.classes)
            var moved: [Float] = []
            func run(_ network: Network, _ body: (NetworkState, inout ForwardCall) throws -> Void) throws {
                var call = ForwardCall(Arena(), isTraining: isTraining && plan.dependsOnMode(network))
                try body(try model.snapshot(network), &call)
                for (_, value) in call.moved.sorted(by: { $0.index < $1.index }) {
                    if case .floats(let buffer) = value { moved += buffer.array }
                }
            }
            try run(.encoder) { state, call in
                let wanted = EncodedOutputs(encoded: encoded.pointer, features: features.pointer)
                try plan.encode(state, images.pointer, count: n, wanted, &call)
            }
            for (network, logits) in [(Network.globalD, global), (.localD, local)] {
                try run(network) { state, call in
                    try plan.score(
                        state, encoded: encoded.pointer, maps: features.pointer, count: n, logits: logits.pointer,
                        &call)
                }
            }
            try run(.priorD) { state, call in
                try plan.scorePrior(state, encoded: encoded.pointer, count: n, probabilities: prior.pointer, &call)
            }
            try run(.classifier) { state, call in
                try plan.classify(state, encoded: encoded.pointer, count: n, logits: classes.pointer, &call)
            }
            return [encoded, features, global, local, prior, classes].map(\.array) + (moved.isEmpty ? [] : [moved])
        }
        let (fused, layers) = (try outputs(model.plan), try outputs(model.plan.layers))
        #expect(fused.count == layers.count && fused.count == (isTraining ? 7 : 6))
        for (index, (a, b)) in zip(fused, layers).enumerated() {
            let scale = (a.reduce(0) { $0 + $1 * $1 } / Float(a.count)).squareRoot()
            let largest = zip(a, b).reduce(Float(0)) { max($0, abs($1.0 - $1.1)) }
            // The bound of every output against PyTorch, for each of the two.
            #expect(largest <= 2e-4 * scale, "output \(index): \(largest) of \(scale)")
        }
    }
}
