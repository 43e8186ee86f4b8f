import DimArchitecture
import DimRuntime

/// The gradients of a step and the running statistics it would set, as one contiguous array: what processes that train
/// together sum, and what the optimisers read.
package final class Gradients {
    /// One parameter's place in the array.
    package struct Entry {
        package let spec: ParameterSpec
        package let offset: Int
    }

    package let entries: [Entry]
    /// Where the gradients are made; several micro-batches' wait in others of this size.
    package internal(set) var buffer: Buffer
    /// Floats that belong to trainable parameters; they come first.
    package let trainableCount: Int
    /// Gradients, running means and variances.
    let count: Int
    /// Running means and variances.
    let statisticsCount: Int
    /// How often a batch norm may see a micro-batch.
    let passes: Int
    /// What processes add up: the gradients, then a row for each micro-batch.
    let sharedCount: Int
    private let places: [Network: [String: Int]]
    /// By index into the network's specs; nil for counters.
    private let offsets: [Network: [Int?]]

    /// All trainable parameters of the networks in schema order, then their running means and variances.
    /// Behind these there is room for what `microBatches` of several processes exchange.
    package init(_ architecture: Architecture, _ networks: [Network], microBatches: Int = 1, passes: Int = 1) throws {
        let specs = networks.flatMap(architecture.parameters(of:))
        let ordered = specs.filter(\.isTrainable) + specs.filter { !$0.isTrainable && !$0.isInteger }
        var entries: [Entry] = []
        var places: [Network: [String: Int]] = [:]
        var offset = 0
        for spec in ordered {
            entries.append(Entry(spec: spec, offset: offset))
            places[spec.network, default: [:]][spec.key] = offset
            offset += spec.count
        }
        self.entries = entries
        self.places = places
        offsets = Dictionary(
            uniqueKeysWithValues: networks.map { network in
                (network, architecture.parameters(of: network).map { places[network]?[$0.key] })
            })
        let trainable = entries.reduce(0) { $0 + ($1.spec.isTrainable ? $1.spec.count : 0) }
        statisticsCount = offset - trainable
        trainableCount = trainable
        count = offset
        self.passes = passes
        sharedCount = trainable + microBatches * MicroBatches.rowCount(offset - trainable, passes: passes)
        buffer = try Buffer(zeros: microBatches == 1 ? offset : max(offset, sharedCount))
    }

    package func pointer(_ network: Network, _ key: String) -> UnsafeMutablePointer<Float> {
        guard let offset = places[network]?[key] else { preconditionFailure("no gradient of \(network) \(key)") }
        return buffer.pointer + offset
    }

    /// By index into the network's specs.
    package func pointer(_ network: Network, _ index: Int) -> UnsafeMutablePointer<Float> {
        guard let offset = offsets[network]?[index] else { preconditionFailure("no gradient of \(network) \(index)") }
        return buffer.pointer + offset
    }

    /// The places of one network's trainable parameters.
    func entries(of network: Network) -> [Entry] {
        entries.filter { $0.spec.network == network && $0.spec.isTrainable }
    }

    package func clear() { buffer.pointer.update(repeating: 0, count: buffer.count) }
}
