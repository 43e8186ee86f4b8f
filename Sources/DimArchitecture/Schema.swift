/// The notebook's parameters by name and shape: what its constructors make, in their order.
package enum Schema {
    package static let networks: [Network] = [.encoder, .globalD, .localD, .priorD, .classifier]

    /// All parameters of all networks, in the notebook's order; within a network in state_dict order, the order in which
    /// the constructor assigns its modules.
    package static let all = Architecture.notebook.parameters

    package static func parameters(of networks: [Network]) -> [ParameterSpec] {
        all.filter { networks.contains($0.network) }
    }

    package static func parameters(of network: Network) -> [ParameterSpec] { all.filter { $0.network == network } }
}
