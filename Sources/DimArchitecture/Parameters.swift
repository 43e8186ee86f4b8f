/// One entry of a network's state_dict.
package struct ParameterSpec: Equatable, Sendable {
    package enum Role: Equatable, Sendable {
        /// Convolution or linear weight or bias, drawn uniform on [-b, b] with b = 1/sqrt(fanIn).
        case drawn(fanIn: Int)
        /// A shortcut's weight in the authors' dot net: `drawn`; then, if there are at least as many outputs as inputs,
        /// drawn once more from the same stream, uniform on [-0.01, 0.01], with 1 on the diagonal.
        case authorsShortcut(fanIn: Int)
        /// 1 and 0 at first: a norm's weight and bias.
        case ones, zeros
        case runningMean, runningVar
        /// num_batches_tracked, an int64 scalar.
        case batchCount
    }

    package let network: Network
    /// Without the network's prefix: "c0.weight".
    package let key: String
    package let shape: [Int]
    package let role: Role

    /// "encoder.c0.weight"
    package var name: String { network.prefix + "." + key }
    package var count: Int { shape.reduce(1, *) }
    package var isInteger: Bool { role == .batchCount }
    package var bytes: Int { count * (isInteger ? 8 : 4) }
    /// Has a gradient.
    package var isTrainable: Bool {
        switch role {
        case .drawn, .authorsShortcut, .ones, .zeros: true
        case .runningMean, .runningVar, .batchCount: false
        }
    }
}

extension ResolvedArchitecture {
    /// In state_dict order, which is the order of initialisation: layer by layer, a layer's weight and bias, then its
    /// norm.
    package func parameters(of network: Network) -> [ParameterSpec] {
        var list = ParameterList(network: network)
        switch network {
        case .encoder:
            list.add(encoder, normsLast: architecture.encoder.normsLast)
        case .globalD, .localD:
            guard let head = network == .globalD ? global : local else { break }
            list.add(head.map, normsLast: head.normsLast)
            list.add(head.vector)
            list.add(head.joint)
        case .priorD: list.add(prior ?? [])
        case .classifier: list.add(classifier ?? [])
        case .coordinatesD: list.add(coordinates ?? [])
        }
        return list.specs
    }

    /// Of all its networks, in their order.
    package var parameters: [ParameterSpec] { networks.flatMap(parameters(of:)) }
}

extension Architecture {
    package func parameters(of network: Network) -> [ParameterSpec] { resolved.parameters(of: network) }
    package var parameters: [ParameterSpec] { resolved.parameters }
}

private struct ParameterList {
    let network: Network
    var specs: [ParameterSpec] = []

    /// normsLast: all norms behind all layers; in a residual block, behind the block's.
    mutating func add(_ layers: [ResolvedLayer], normsLast: Bool = false) {
        for layer in layers {
            addWeights(layer, normsLast)
            if !normsLast { addNorm(layer) }
        }
        if normsLast { layers.forEach { addNorm($0) } }
    }

    private mutating func addWeights(_ layer: ResolvedLayer, _ normsLast: Bool) {
        switch layer.layer.op {
        case .conv, .linear:
            let kernel = layer.layer.kernel
            let window = layer.layer.op == .conv ? [kernel.rows, kernel.columns] : []
            let shape = [layer.output.channels, layer.input.channels] + window
            let fanIn = shape.dropFirst().reduce(1, *)
            add(
                layer.path + ".weight", shape,
                layer.drawsIdentity ? .authorsShortcut(fanIn: fanIn) : .drawn(fanIn: fanIn))
            if layer.layer.bias { add(layer.path + ".bias", [layer.output.channels], .drawn(fanIn: fanIn)) }
        case .residual:
            add(layer.children + (layer.shortcut.map { [$0] } ?? []), normsLast: normsLast)
        case .maxpool, .avgpool, .flatten, .dropout:
            break
        }
    }

    private mutating func addNorm(_ layer: ResolvedLayer) {
        guard let norm = layer.layer.norm, let path = layer.normPath else { return }
        let channels = layer.output.channels
        add(path + ".weight", [channels], .ones)
        add(path + ".bias", [channels], .zeros)
        guard norm == .batch else { return }
        add(path + ".running_mean", [channels], .runningMean)
        add(path + ".running_var", [channels], .runningVar)
        add(path + ".num_batches_tracked", [], .batchCount)
    }

    private mutating func add(_ key: String, _ shape: [Int], _ role: ParameterSpec.Role) {
        specs.append(ParameterSpec(network: network, key: key, shape: shape, role: role))
    }
}
