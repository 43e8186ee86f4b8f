import DimArchitecture
import DimModel
import DimOperators
import DimRuntime

/// The prior's term.
extension LayerObjective {
    /// -(mean log D(u) + mean log(1 - D(s(y)))), with s the squash; the discriminator minimises it, plus the gradient penalty,
    /// the encoder it (monolithic) or -mean log D(s(y)) (adversarial).
    func prior(
        _ state: NetworkState, _ y: Activation, _ dy: Activation?, _ options: TrainerOptions, _ gradients: Gradients?,
        _ figures: inout ObjectiveFigures, _ random: inout MersenneTwister
    ) throws -> Double {
        let network = plan.prior!
        let n = y.images
        let size = y.shape.size
        let weights: StackWeights
        if gradients != nil {
            weights = try priorWeights ?? StackWeights(network, gradientWeights: .beside)
            priorWeights = weights
            weights.prepare(state)
        } else {
            weights = try StackWeights.prepared(network, state)
        }
        // Rows 0 ..< n are u, rows n ..< 2n are y.
        let planes = try arena.floats(plan.slots[.priorRows], 2 * n * size)
        random.uniforms(into: planes, count: n * size)
        PlanarLayout.store(y, into: planes + n * size)
        let x = try arena.activation(plan.slots[.priorInput], network.input, images: 2 * n)
        PlanarLayout.load(planes, mean: [], std: [], into: x)
        if plan.squashes {
            let squashed = try arena.activation(plan.slots[.priorSquashed], network.input, images: n)
            PlanarLayout.load(planes + n * size, mean: [], std: [], into: squashed)
            Elementwise.sigmoid(squashed)
            PlanarLayout.store(squashed, into: planes + n * size)
            PlanarLayout.load(planes, mean: [], std: [], into: x)
        }
        figures.priorInputs = try Buffer(copying: planes + n * size, count: n * size)
        let pass = StackPass(network, state, weights, arena, training: gradients != nil)
        let logits = try pass.forward(x, &random)
        var loss = 0.0
        for i in 0..<n {
            loss += Logistic.softplus(-Double(logits.pointer[i * 16]))
            loss += Logistic.softplus(Double(logits.pointer[(n + i) * 16]))
        }
        loss /= Double(n)
        guard let gradients, let dy else { return loss }
        try requireFinite(losses: [loss], "the batch was dropped, the weights are as before")
        // The discriminator's gradient and, where the encoder minimises something else, its.
        let dLogits = try arena.activation(plan.slots[.priorLogitGradient], logits.shape, images: 2 * n)
        let dx = try arena.activation(plan.slots[.priorInputGradient], network.input, images: 2 * n)
        let scale = options.gamma / Double(n)
        func set(_ sign: Double, both: Bool) {
            Elementwise.clear(dLogits)
            for i in 0..<n {
                let (ofNoise, ofEncoded) = (Double(logits.pointer[i * 16]), Double(logits.pointer[(n + i) * 16]))
                if both { dLogits.pointer[i * 16] = Float(-Logistic.sigmoid(-ofNoise) * scale) }
                dLogits.pointer[(n + i) * 16] = Float(sign * Logistic.sigmoid(sign * ofEncoded) * scale)
            }
        }
        set(1, both: true)
        try pass.backward(dLogits, into: dx, gradients)
        if options.prior == .adversarial {
            if options.gradientPenalty > 0 {
                figures.gradientPenalty = try penalty(
                    state, planes, n, options.gamma * options.gradientPenalty, gradients)
            }
            set(-1, both: false)
            let ignored = try discarded(gradients)
            try pass.backward(dLogits, into: dx, ignored)
        }
        let rows = try arena.activation(plan.slots[.priorVectorGradient], network.input, images: n)
        PlanarLayout.store(dx, into: planes)
        PlanarLayout.load(planes + n * size, mean: [], std: [], into: rows)
        if plan.squashes {
            let squashed = try arena.activation(plan.slots[.priorSquashed], network.input, images: n)
            PlanarLayout.store(x, into: planes)
            PlanarLayout.load(planes + n * size, mean: [], std: [], into: squashed)
            Elementwise.sigmoidGradient(squashed, rows)
        }
        Elementwise.add(rows, into: dy)
        return loss
    }

    private func discarded(_ gradients: Gradients) throws -> Gradients {
        if let unused { return unused }
        let made = try Gradients(plan.architecture, [.priorD])
        unused = made
        return made
    }

    /// Half of the mean square of the logit's gradient at the prior's samples plus that at the squashed vectors
    /// (R1, Mescheder and others 2018): `inputs` (2n, size), samples first.
    private func penalty(
        _ state: NetworkState, _ inputs: UnsafePointer<Float>, _ n: Int, _ weight: Double, _ gradients: Gradients
    ) throws -> Double {
        let layers = plan.prior!.convolutions.map { convolution in
            GradientPenalty.Layer(
                weight: UnsafePointer(state.pointer(convolution.weight)),
                bias: convolution.bias.map { UnsafePointer(state.pointer($0)) },
                inputs: convolution.operator.input.channels, outputs: convolution.operator.output.channels)
        }
        let targets = plan.prior!.convolutions.map { gradients.pointer(.priorD, $0.weight) }
        let penalty = GradientPenalty(layers)
        return try (0..<2).reduce(0) { sum, half in
            try sum
                + penalty.value(
                    inputs + half * n * plan.resolved.encodedSize, rows: n, weight: weight, gradients: targets,
                    arena.scratch)
        }
    }
}
