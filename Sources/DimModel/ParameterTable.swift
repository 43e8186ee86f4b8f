import DimArchitecture

/// The parameters of the networks that a model holds, by place and by name: a caller who asks for one after the other waits for
/// no list to be made each time.
package final class ParameterTable {
    let networks: [Network]
    /// In state_dict order.
    package let specs: [ParameterSpec]
    /// The names as C strings, which live as long as the table.
    package let names: [UnsafePointer<CChar>]
    private let places: [String: Int]
    private let firsts: [Network: Int]

    init(_ networks: [Network], _ architecture: Architecture) {
        self.networks = networks
        specs = networks.flatMap(architecture.parameters(of:))
        names = specs.map { spec in
            let bytes = Array(spec.name.utf8CString)
            let copy = UnsafeMutablePointer<CChar>.allocate(capacity: bytes.count)
            copy.initialize(from: bytes, count: bytes.count)
            return UnsafePointer(copy)
        }
        places = Dictionary(uniqueKeysWithValues: specs.enumerated().map { ($1.name, $0) })
        firsts = Dictionary(specs.enumerated().map { ($1.network, $0) }, uniquingKeysWith: min)
    }

    deinit { names.forEach { $0.deallocate() } }

    package func place(of name: String) -> Int? { places[name.knownName] }

    /// Among the values of its network: where `NetworkState` has the parameter of this place.
    package func index(of place: Int) -> Int { place - firsts[specs[place].network]! }
}
