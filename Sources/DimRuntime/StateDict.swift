import DimArchitecture

/// A parameter's data. Buffers are shared, never changed in place while shared.
package enum ParameterValue {
    case floats(Buffer)
    case counter(Int64)
}

/// The weights of some networks of an architecture: `values[i]` belongs to `specs[i]`.
package struct StateDict {
    package let architecture: Architecture
    package let networks: [Network]
    package let specs: [ParameterSpec]
    package var values: [ParameterValue]

    /// `values` in the order of `architecture.parameters(of: networks)`.
    package init(_ architecture: Architecture = .notebook, networks: [Network], values: [ParameterValue]) {
        self.architecture = architecture
        self.networks = networks
        self.specs = networks.flatMap(architecture.parameters(of:))
        self.values = values
        precondition(values.count == specs.count)
    }
}
