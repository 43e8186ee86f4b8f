/// The five networks' parameters by name and shape: what the notebook's constructors make, in their order.
package enum Schema {
    /// The notebook's networks.
    package static let networks: [Network] = [.encoder, .globalD, .localD, .priorD, .classifier]

    /// All parameters of all networks, in the notebook's order; within a network in state_dict order (the order in which the
    /// constructor assigns its modules).
    package static let all: [ParameterSpec] = networks.flatMap(parameters(of:))

    package static func parameters(of networks: [Network]) -> [ParameterSpec] {
        all.filter { networks.contains($0.network) }
    }

    package static func parameters(of network: Network) -> [ParameterSpec] {
        var list = List(network: network)
        switch network {
        case .encoder:
            list.convolution("c0", 64, 3, kernel: 4)
            list.convolution("c1", 128, 64, kernel: 4)
            list.convolution("c2", 256, 128, kernel: 4)
            list.convolution("c3", 512, 256, kernel: 4)
            list.linear("l1", 64, 512 * 20 * 20)
            list.batchNorm("b1", 128)
            list.batchNorm("b2", 256)
            list.batchNorm("b3", 512)
        case .globalD:
            list.convolution("c0", 64, 128, kernel: 3)
            list.convolution("c1", 32, 64, kernel: 3)
            list.linear("l0", 512, 32 * 22 * 22 + 64)
            list.linear("l1", 512, 512)
            list.linear("l2", 1, 512)
        case .localD:
            list.convolution("c0", 512, 192, kernel: 1)
            list.convolution("c1", 512, 512, kernel: 1)
            list.convolution("c2", 1, 512, kernel: 1)
        case .priorD:
            list.linear("l0", 1000, 64)
            list.linear("l1", 200, 1000)
            list.linear("l2", 1, 200)
        case .classifier:
            list.linear("l1", 15, 64)
            list.batchNorm("bn1", 15)
            list.linear("l2", 10, 15)
            list.batchNorm("bn2", 10)
            list.linear("l3", 10, 10)
            list.batchNorm("bn3", 10)
        case .coordinatesD:
            break
        }
        return list.specs
    }

    private struct List {
        let network: Network
        var specs: [ParameterSpec] = []

        mutating func convolution(_ name: String, _ out: Int, _ input: Int, kernel: Int) {
            let fanIn = input * kernel * kernel
            add(name + ".weight", [out, input, kernel, kernel], .drawn(fanIn: fanIn))
            add(name + ".bias", [out], .drawn(fanIn: fanIn))
        }

        mutating func linear(_ name: String, _ out: Int, _ input: Int) {
            add(name + ".weight", [out, input], .drawn(fanIn: input))
            add(name + ".bias", [out], .drawn(fanIn: input))
        }

        mutating func batchNorm(_ name: String, _ channels: Int) {
            add(name + ".weight", [channels], .scale)
            add(name + ".bias", [channels], .shift)
            add(name + ".running_mean", [channels], .runningMean)
            add(name + ".running_var", [channels], .runningVar)
            add(name + ".num_batches_tracked", [], .batchCount)
        }

        mutating func add(_ key: String, _ shape: [Int], _ role: ParameterSpec.Role) {
            specs.append(ParameterSpec(network: network, key: key, shape: shape, role: role))
        }
    }
}
