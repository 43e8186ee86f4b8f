import DimArchitecture
import DimRuntime

/// The networks of a model handle, and the rules by which threads share them:
/// an inference takes a snapshot of the states it needs and works on that; a change (swap, training-mode forward,
/// trainer's update) waits for other changes, builds new states and swaps them in at once.
package final class Model: @unchecked Sendable {
    private struct State {
        var networks: [Network: NetworkState]
        var isTraining = false
        /// Of the classifier's classes: none, or one for each.
        var classNames: [String] = []
    }

    package let architecture: Architecture
    package let sizes: ModelSizes
    private let state: Guarded<State>
    private let changes = Lock()
    /// Scratch memory of finished calls, for the next ones.
    let arenas = ArenaPool()
    /// What dropout draws from in training mode, outside a trainer. Used inside `whileChanging`.
    var random: MersenneTwister

    package init(_ architecture: Architecture = .notebook, seed: UInt64) throws {
        self.architecture = architecture
        sizes = ModelSizes(architecture)
        var random = MersenneTwister(seed: seed)
        let values = try Initialization.values(architecture, &random)
        self.random = random
        state = Guarded(State(networks: Model.states(architecture, values)))
    }

    package init(_ dict: StateDict) {
        architecture = dict.architecture
        sizes = ModelSizes(dict.architecture)
        random = MersenneTwister(seed: 0)
        state = Guarded(
            State(
                networks: Model.states(dict.architecture, Model.byNetwork(dict)), classNames: dict.classNames))
    }

    private static func states(
        _ architecture: Architecture, _ values: [Network: [ParameterValue]]
    ) -> [Network: NetworkState] {
        Dictionary(
            uniqueKeysWithValues: values.map {
                ($0, NetworkState(network: $0, specs: architecture.parameters(of: $0), values: $1))
            })
    }

    private let planned = MadeAtFirstUse<any NetworkPlan>()
    /// How the networks are computed.
    package var plan: any NetworkPlan { planned.value { architecture.makePlan() } }

    private static func byNetwork(_ dict: StateDict) -> [Network: [ParameterValue]] {
        var result: [Network: [ParameterValue]] = [:]
        for (spec, value) in zip(dict.specs, dict.values) { result[spec.network, default: []].append(value) }
        return result
    }

    // MARK: Reading

    /// In the order of state_dict.
    package var networks: [Network] {
        state.withLock { state in Network.allCases.filter { state.networks[$0] != nil } }
    }

    package var isTraining: Bool {
        get { state.withLock { $0.isTraining } }
        set { changes.whileHeld { state.withLock { $0.isTraining = newValue } } }
    }

    /// Empty, or one name for each class.
    package var classNames: [String] {
        get { state.withLock { $0.classNames } }
        set { state.withLock { $0.classNames = newValue } }
    }

    /// The network's weights now. Throws `.missingNetwork`.
    package func snapshot(_ network: Network) throws -> NetworkState {
        guard let found = state.withLock({ $0.networks[network] }) else {
            guard architecture.networks.contains(network) else {
                throw DimError(.missingNetwork, "the model's architecture has no \(network.prefix)")
            }
            let held = networks.map(\.prefix).joined(separator: ", ")
            throw DimError(.missingNetwork, "the model holds no weights for \(network.prefix); it holds: \(held)")
        }
        return found
    }

    /// All weights at one moment.
    package func stateDict() -> StateDict {
        let (networks, names) = state.withLock { ($0.networks, $0.classNames) }
        let held = Network.allCases.filter { networks[$0] != nil }
        return StateDict(
            architecture, networks: held, values: held.flatMap { networks[$0]!.values },
            classNames: held.contains(.classifier) ? names : [])
    }

    /// The newest last. The others stay, since callers may have names of theirs.
    private let tables = Guarded<[ParameterTable]>([])
    /// Of the networks that the model holds now: a file that is loaded may add some.
    package var parameters: ParameterTable {
        let networks = self.networks
        if let known = tables.withLock({ $0.last { $0.networks == networks } }) { return known }
        let made = ParameterTable(networks, architecture)
        tables.withLock { $0.append(made) }
        return made
    }

    // MARK: Changing

    /// Runs `body` while no other change of this model runs.
    package func whileChanging<T>(_ body: () throws -> T) rethrows -> T {
        try changes.whileHeld(body)
    }

    /// Every network of `dict`, which is of the model's architecture, replaces the model's or is added, all at once. Names of
    /// classes replace the model's, where there are some.
    package func replace(_ dict: StateDict) {
        let new = Model.states(architecture, Model.byNetwork(dict))
        changes.whileHeld {
            state.withLock { state in
                state.networks.merge(new) { $1 }
                if !dict.classNames.isEmpty { state.classNames = dict.classNames }
            }
        }
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
    package func install(_ states: [NetworkState]) -> [NetworkState] {
        state.withLock { state in
            states.compactMap { new in state.networks.updateValue(new, forKey: new.network) }
        }
    }
}
