import DimArchitecture
import DimRuntime

/// The networks that a handle stands for, and the rules by which threads share them:
/// an inference takes a snapshot of the states it needs and works on that; a change (swap, training-mode forward, trainer's
/// update) waits for other changes, builds new states and puts them in place at once.
package final class Model: @unchecked Sendable {
    private struct State {
        var networks: [Network: NetworkState]
        var isTraining = false
    }

    private let state: Guarded<State>
    private let changes = Lock()
    /// Scratch memory of finished calls, for the next ones.
    let workspaces = WorkspacePool()

    package init(seed: UInt64) throws {
        let values = try Initialization.values(seed: seed)
        state = Guarded(State(networks: Model.states(values)))
    }

    package init(_ dict: StateDict) {
        state = Guarded(State(networks: Model.states(Model.byNetwork(dict))))
    }

    private static func states(_ values: [Network: [ParameterValue]]) -> [Network: NetworkState] {
        Dictionary(uniqueKeysWithValues: values.map { ($0, NetworkState(network: $0, values: $1)) })
    }

    private static func byNetwork(_ dict: StateDict) -> [Network: [ParameterValue]] {
        var result: [Network: [ParameterValue]] = [:]
        for (spec, value) in zip(dict.specs, dict.values) { result[spec.network, default: []].append(value) }
        return result
    }

    // MARK: Reading

    /// In the notebook's order.
    package var networks: [Network] {
        state.withLock { state in Network.allCases.filter { state.networks[$0] != nil } }
    }

    package var isTraining: Bool {
        get { state.withLock { $0.isTraining } }
        set { changes.whileHeld { state.withLock { $0.isTraining = newValue } } }
    }

    /// The network's weights now. Throws `.missingNetwork`.
    package func snapshot(_ network: Network) throws -> NetworkState {
        guard let found = state.withLock({ $0.networks[network] }) else {
            let held = networks.map(\.prefix).joined(separator: ", ")
            throw DimError(.missingNetwork, "the model holds no weights for \(network.prefix); it holds: \(held)")
        }
        return found
    }

    /// All weights at one moment.
    package func stateDict() -> StateDict {
        let networks = state.withLock { $0.networks }
        let held = Network.allCases.filter { networks[$0] != nil }
        return StateDict(networks: held, values: held.flatMap { networks[$0]!.values })
    }

    // MARK: Changing

    /// Runs `body` while no other change of this model runs.
    package func whileChanging<T>(_ body: () throws -> T) rethrows -> T {
        try changes.whileHeld(body)
    }

    /// Every network of `dict` replaces the model's, all at once.
    package func replace(_ dict: StateDict) {
        let new = Model.states(Model.byNetwork(dict))
        changes.whileHeld { state.withLock { $0.networks.merge(new) { $1 } } }
    }

    /// Replaces single parameters, all at once. The networks are held.
    package func replace(_ changesByNetwork: [Network: [(index: Int, value: ParameterValue)]]) {
        changes.whileHeld {
            state.withLock { state in
                for (network, changes) in changesByNetwork {
                    state.networks[network] = state.networks[network]?.replacing(changes)
                }
            }
        }
    }

    /// Puts whole states in place, all at once; what they replace. The caller is inside `whileChanging`.
    func install(_ states: [NetworkState]) -> [NetworkState] {
        state.withLock { state in
            states.compactMap { new in state.networks.updateValue(new, forKey: new.network) }
        }
    }
}
