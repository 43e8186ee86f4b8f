import DimArchitecture
import DimModel
import DimRuntime

/// The gradients of a step and the running statistics it would set, as one contiguous array: what processes that train
/// together sum, and what the optimisers read.
package final class Gradients: GradientTarget {
    /// One parameter's place in the array.
    package struct Entry {
        package let spec: ParameterSpec
        /// Among its network's specs.
        package let index: Int
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
    /// By index into the network's specs; nil for counters.
    private let offsets: [Network: [Int?]]

    /// All trainable parameters of the networks in schema order, then their running means and variances.
    /// Behind these there is room for what `microBatches` of several processes exchange.
    package init(_ architecture: Architecture, _ networks: [Network], microBatches: Int = 1, passes: Int = 1) throws {
        var entries: [Entry] = []
        var offsets: [Network: [Int?]] = [:]
        var offset = 0
        func add(where isWanted: (ParameterSpec) -> Bool) {
            for network in networks {
                let specs = architecture.parameters(of: network)
                for (index, spec) in specs.enumerated() where isWanted(spec) {
                    entries.append(Entry(spec: spec, index: index, offset: offset))
                    offsets[network, default: Array(repeating: nil, count: specs.count)][index] = offset
                    offset += spec.count
                }
            }
        }
        add { $0.isTrainable }
        add { !$0.isTrainable && !$0.isInteger }
        self.entries = entries
        self.offsets = offsets
        let trainable = entries.reduce(0) { $0 + ($1.spec.isTrainable ? $1.spec.count : 0) }
        statisticsCount = offset - trainable
        trainableCount = trainable
        count = offset
        self.passes = passes
        sharedCount = trainable + microBatches * MicroBatches.rowCount(offset - trainable, passes: passes)
        buffer = try Buffer(zeros: microBatches == 1 ? offset : max(offset, sharedCount))
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

    package func clear() {
        let (values, count, chunk) = (buffer.pointer, buffer.count, TrainingStep.chunk)
        ThreadPool.shared.parallel((count + chunk - 1) / chunk) { task, _ in
            (values + task * chunk).update(repeating: 0, count: min(chunk, count - task * chunk))
        }
    }
}
