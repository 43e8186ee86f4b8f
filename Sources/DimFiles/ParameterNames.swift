import DimArchitecture

/// The names of an architecture's parameters, as key matching looks them up.
struct ParameterNames {
    let architecture: Architecture
    /// All of them, in state_dict order.
    let specs: [ParameterSpec]
    /// Those of the architecture's networks that are wanted.
    let wanted: [Network]
    /// Those that are asked for and that the architecture does not have.
    let missing: [Network]
    /// The architecture's networks that are left out, and those that it does not have.
    private let others: Set<String>
    /// Where in `specs` a name is.
    private let index: [String: Int]
    /// Names without their network.
    let bareKeys: Set<String>
    /// First parts of names without their network: "c0".
    let modules: Set<String>

    /// `networks`: a mask of those to read, 0 for all.
    init(_ architecture: Architecture, networks mask: UInt32 = 0) {
        self.architecture = architecture
        let isWanted = { (network: Network) in mask == 0 || mask & network.rawValue != 0 }
        wanted = architecture.networks.filter(isWanted)
        missing = Network.allCases.filter { mask & $0.rawValue != 0 && !architecture.networks.contains($0) }
        specs = architecture.parameters.filter { isWanted($0.network) }
        index = Dictionary(uniqueKeysWithValues: specs.enumerated().map { ($1.name, $0) })
        bareKeys = Set(specs.map(\.key))
        modules = Set(specs.map { String($0.key.prefix { $0 != "." }) })
        others = Set(Network.allCases.filter { !isWanted($0) }.map(\.prefix))
    }

    func find(_ name: String) -> Int? { index[name] }

    /// Whether the name is that of a network which is left out: names below it are not checked.
    func isLeftOut(_ prefix: String) -> Bool { others.contains(prefix) }

    func specs(of network: Network) -> [ParameterSpec] { specs.filter { $0.network == network } }

    static let prefixes = Set(Network.allCases.map(\.prefix))
}
