extension Architecture {
    /// The networks that are described, in state_dict order.
    package var networks: [Network] { resolved.networks }

    /// The notebook's networks, on images as they are: what the operators made for it compute.
    package var isNotebook: Bool {
        var twin = self
        twin.image.resize = Architecture.notebook.image.resize
        return twin.isSameNetwork(as: .notebook)
    }
}
