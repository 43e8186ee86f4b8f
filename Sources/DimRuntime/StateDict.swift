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
    /// Of the classifier's classes: none, or one for each.
    package let classNames: [String]

    /// `values` in the order of `architecture.parameters(of: networks)`.
    package init(
        _ architecture: Architecture = .notebook, networks: [Network], values: [ParameterValue],
        classNames: [String] = []
    ) {
        self.architecture = architecture
        self.networks = networks
        self.specs = networks.flatMap(architecture.parameters(of:))
        self.values = values
        self.classNames = classNames
        precondition(values.count == specs.count)
    }
}
