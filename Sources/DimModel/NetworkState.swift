import DimArchitecture
import DimRuntime

/// One network's weights at one moment. Whoever holds a state sees these weights and no others: swaps replace the state,
/// they do not change it. Only a trainer's update changes one in place, and only where nobody else holds it
/// (`Model.mutate`).
package final class NetworkState: @unchecked Sendable {
    package let network: Network
    package let specs: [ParameterSpec]
    package private(set) var values: [ParameterValue]
    /// Packed and transformed weights, made at first use and shared by all threads. They depend on the drawn weights alone, so
    /// states that differ in batch norm's running statistics share them.
    private var prepared: Prepared

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

    // MARK: Access by index

    package func pointer(_ index: Int) -> UnsafeMutablePointer<Float> {
        guard case .floats(let buffer) = values[index] else { preconditionFailure("\(specs[index].key) is a counter") }
        return buffer.pointer
    }

    package func counter(_ index: Int) -> Int64 {
        guard case .counter(let count) = values[index] else { preconditionFailure("\(specs[index].key) is an array") }
        return count
    }

    // MARK: Access by key

    package func index(_ key: String) -> Int {
        guard let index = specs.firstIndex(where: { $0.key == key }) else {
            preconditionFailure("\(network) has no \(key)")
        }
        return index
    }

    package func buffer(_ key: String) -> Buffer {
        guard case .floats(let buffer) = values[index(key)] else { preconditionFailure("\(key) is a counter") }
        return buffer
    }

    package func pointer(_ key: String) -> UnsafeMutablePointer<Float> { buffer(key).pointer }

    package func counter(_ key: String) -> Int64 {
        guard case .counter(let count) = values[index(key)] else { preconditionFailure("\(key) is an array") }
        return count
    }

    // MARK: Prepared weights

    /// What `make` returned at the first call for this purpose. Other threads that ask meanwhile wait for it.
    package func prepared<T: AnyObject>(for purpose: String = "inference", _ make: () throws -> T) throws -> T {
        try prepared.lock.whileHeld {
            if let value = prepared.values[purpose] as? T { return value }
            let value = try make()
            prepared.values[purpose] = value
            return value
        }
    }

    private final class Prepared: @unchecked Sendable {
        let lock = Lock()
        var values: [String: AnyObject] = [:]
    }

    // MARK: In-place change

    /// A state of its own over the same arrays.
    func copy() -> NetworkState { NetworkState(self, values: values, prepared: Prepared()) }

    /// Prepares for `mutate`: copies every array that another state shares. The caller is the only holder of this state.
    func makeUnique() throws {
        for index in values.indices {
            guard case .floats(var buffer) = values[index] else { continue }
            values[index] = .counter(0)  // so that `buffer` is the only reference where nobody shares it
            defer { values[index] = .floats(buffer) }
            if !isKnownUniquelyReferenced(&buffer) {
                buffer = try Buffer(copying: buffer.pointer, count: buffer.count)
            }
        }
    }

    /// Hands out each entry for change in place, after `makeUnique`.
    func mutate(_ body: (_ index: Int, _ value: inout ParameterValue) -> Void) {
        for index in values.indices { body(index, &values[index]) }
        prepared = Prepared()
    }
}
