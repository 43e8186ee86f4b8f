import DimArchitecture

/// A parameter's data. Buffers are shared, never changed in place while shared.
package enum ParameterValue {
    case floats(Buffer)
    case counter(Int64)
}

/// The weights of some networks: `values[i]` belongs to `specs[i]`.
package struct StateDict {
    package let networks: [Network]
    package let specs: [ParameterSpec]
    package var values: [ParameterValue]

    /// `values` in the order of `Schema.parameters(of: networks)`.
    package init(networks: [Network], values: [ParameterValue]) {
        self.networks = networks
        self.specs = Schema.parameters(of: networks)
        self.values = values
        precondition(values.count == specs.count)
    }
}
