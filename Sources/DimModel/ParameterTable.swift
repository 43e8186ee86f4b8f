import DimArchitecture
import DimRuntime

/// The parameters of the networks that a model holds, by place and by name: a caller who asks for one after the other waits for
/// no list to be made each time.
package final class ParameterTable {
    let networks: [Network]
    /// In state_dict order.
    package let specs: [ParameterSpec]
    /// The names as C strings, which are never freed.
    package let names: [UnsafePointer<CChar>]
    private let places: [String: Int]
    private let firsts: [Network: Int]

    init(_ networks: [Network], _ architecture: Architecture) {
        self.networks = networks
        specs = networks.flatMap(architecture.parameters(of:))
        names = ParameterTable.lasting(specs.map(\.name))
        places = Dictionary(uniqueKeysWithValues: specs.enumerated().map { ($1.name, $0) })
        firsts = Dictionary(specs.enumerated().map { ($1.network, $0) }, uniquingKeysWith: min)
    }

    package func place(of name: String) -> Int? { places[name] }

    /// Among the values of its network: where `NetworkState` has the parameter of this place.
    package func index(of place: Int) -> Int { place - firsts[specs[place].network]! }

    // MARK: Names that last

    private static let lasting = Guarded<[String: UnsafePointer<CChar>]>([:])

    /// Callers may keep a name longer than its model. There are few of them: a layer's is its number and what it computes.
    private static func lasting(_ names: [String]) -> [UnsafePointer<CChar>] {
        lasting.withLock { known in
            names.map { name in
                if let found = known[name] { return found }
                let bytes = Array(name.utf8CString)
                let copy = UnsafeMutablePointer<CChar>.allocate(capacity: bytes.count)
                copy.initialize(from: bytes, count: bytes.count)
                known[name] = UnsafePointer(copy)
                return UnsafePointer(copy)
            }
        }
    }
}
