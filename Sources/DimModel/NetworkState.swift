import DimArchitecture
import DimOperators
import DimRuntime

/// What a batch adds to running statistics, by the index of their spec: running = (1 - momentum) running + step. Steps of
/// several batches apply one after another.
package typealias StatisticSteps = [(index: Int, step: [Double])]

/// One network's weights at one moment. A state never changes: an update replaces it by another.
package final class NetworkState: @unchecked Sendable {
    package let network: Network
    package let specs: [ParameterSpec]
    package let values: [ParameterValue]
    /// Packed and transformed weights, made at first use and shared by all threads. They depend on the drawn weights alone, so
    /// states that differ in batch norm's running statistics share them.
    private let prepared: Prepared

    package init(network: Network, specs: [ParameterSpec], values: [ParameterValue]) {
        self.network = network
        self.specs = specs
        self.values = values
        self.prepared = Prepared()
        precondition(values.count == specs.count)
    }

    private init(_ other: NetworkState, values: [ParameterValue], prepared: Prepared) {
        self.network = other.network
        self.specs = other.specs
        self.values = values
        self.prepared = prepared
    }

    /// The same weights with other values at some places. Keeps what was prepared where only statistics differ.
    package func replacing(_ changes: [(index: Int, value: ParameterValue)]) -> NetworkState {
        var values = self.values
        for change in changes { values[change.index] = change.value }
        let keeps = changes.allSatisfy { !specs[$0.index].isTrainable }
        return NetworkState(self, values: values, prepared: keeps ? prepared : Prepared())
    }

    /// The running statistics and counters after one batch, as replacements, or an error where a model may not hold them.
    package func moved(by steps: StatisticSteps) throws -> [(index: Int, value: ParameterValue)] {
        var changes: [(index: Int, value: ParameterValue)] = []
        for (index, step) in steps {
            let buffer = try Buffer(copying: pointer(index), count: specs[index].count)
            NetworkState.move(buffer.pointer, by: step)
            changes.append((index, .floats(buffer)))
            guard specs[index].role == .runningVar else { continue }
            let counter = index + 1  // a norm's running_var and num_batches_tracked are neighbours: DimArchitecture
            changes.append((counter, .counter(self.counter(counter).addingSaturated(1))))
        }
        for (index, value) in changes {
            if let fault = ParameterRules.fault(specs[index], value) {
                throw DimError(.notFinite, "\(fault): the batch's statistics overflow; nothing was changed")
            }
        }
        return changes
    }

    package static func move(_ running: UnsafeMutablePointer<Float>, by step: [Double]) {
        for i in step.indices { running[i] = Float((1 - BatchNorm.momentum) * Double(running[i]) + step[i]) }
    }

    // MARK: Access by index

    package func pointer(_ index: Int) -> UnsafeMutablePointer<Float> {
        guard case .floats(let buffer) = values[index] else { preconditionFailure("\(specs[index].key) is a counter") }
        return buffer.pointer
    }

    package func counter(_ index: Int) -> Int64 {
        guard case .counter(let count) = values[index] else { preconditionFailure("\(specs[index].key) is an array") }
        return count
    }

    // MARK: Prepared weights

    /// What prepared weights are for.
    enum Preparation {
        /// `LayerPlan`'s, for inference.
        case packed
        /// The same in training mode.
        case packedForTraining
        /// `FusedPlan`'s, for inference.
        case fused
        /// The same, without Winograd.
        case fusedDirect
    }

    /// What `make` returned at the first call for this purpose. Other threads that ask meanwhile wait for it.
    func prepared<T: AnyObject>(_ purpose: Preparation, _ make: () throws -> T) throws -> T {
        try prepared.lock.whileHeld {
            if let value = prepared.values[purpose] as? T { return value }
            let value = try make()
            prepared.values[purpose] = value
            return value
        }
    }

    private final class Prepared: @unchecked Sendable {
        let lock = Lock()
        var values: [Preparation: AnyObject] = [:]
    }
}
