/// A layer whose shapes are known and whose parameters have names.
package struct ResolvedLayer: Equatable, Sendable {
    package let layer: Layer
    /// The prefix of its parameters within the network: "c0", or "r0.c1" in a residual block. "" if the layer itself
    /// has none. A residual block without a name adds none to its layers' prefixes.
    package let path: String
    /// The prefix of its norm's parameters; nil without a norm.
    package let normPath: String?
    package let input: MapShape
    package let output: MapShape
    /// The output is a vector (n, c) rather than a map (n, c, h, w).
    package let isFlat: Bool
    /// Residual: its layers.
    package let children: [ResolvedLayer]
    /// Residual: nil for the identity.
    package var shortcut: ResolvedLayer? { shortcuts.first }
    private let shortcuts: [ResolvedLayer]
    /// The weight is drawn as the authors' dot net draws its shortcuts: `ParameterSpec.Role.authorsShortcut`.
    package let drawsIdentity: Bool

    init(
        layer: Layer, path: String, normPath: String?, input: MapShape, output: MapShape, isFlat: Bool,
        children: [ResolvedLayer] = [], shortcut: ResolvedLayer? = nil, drawsIdentity: Bool = false
    ) {
        self.layer = layer
        self.path = path
        self.normPath = normPath
        self.input = input
        self.output = output
        self.isFlat = isFlat
        self.children = children
        self.shortcuts = shortcut.map { [$0] } ?? []
        self.drawsIdentity = drawsIdentity
    }
}

/// A score network in layers. Concat: joint(cat(map(M), y)). Dot: scale x <map(M), vector(y)>.
package struct ResolvedHead: Equatable, Sendable {
    package let description: HeadDescription
    /// The encoder's output that it reads.
    package let input: MapShape
    /// On the map. Global concat: the head's own layers, then flatten. Dot: the features net, which for a global head
    /// starts with flatten, or the copy of the encoder's remaining layers, with their names.
    package let map: [ResolvedLayer]
    /// Dot: on encoded, a map of one pixel or a vector.
    package let vector: [ResolvedLayer]
    /// Concat: on cat(M, y) at each location (local), on cat(y, h) (global), with ReLU between, to 1.
    package let joint: [ResolvedLayer]
    /// Dot: multiplies the scores; 1/sqrt(units) for the light net, else 1.
    package let scale: Double
    /// In a copy, norms are where the encoder has them.
    let normsLast: Bool

    /// A local head over some locations of the map, in a column: its layers see each location by itself.
    package func over(locations: Int) -> ResolvedHead {
        ResolvedHead(
            description: description, input: input.column(locations), map: map.map { $0.over(locations) },
            vector: vector, joint: joint.map { $0.over(locations) }, scale: scale, normsLast: normsLast)
    }
}

extension ResolvedLayer {
    fileprivate func over(_ locations: Int) -> ResolvedLayer {
        ResolvedLayer(
            layer: layer, path: path, normPath: normPath, input: input.column(locations),
            output: output.column(locations), isFlat: isFlat, children: children.map { $0.over(locations) },
            shortcut: shortcut?.over(locations), drawsIdentity: drawsIdentity)
    }
}

extension MapShape {
    package func column(_ height: Int) -> MapShape { MapShape(channels: channels, height: height, width: 1) }
}

/// An architecture with every shape and every parameter's name.
package struct ResolvedArchitecture: Equatable, Sendable {
    package let architecture: Architecture
    package let image: MapShape
    package let encoder: [ResolvedLayer]
    /// Indices into `encoder` of the layers whose outputs these are.
    package let featuresIndex: Int
    package let convIndex: Int?
    package let fcIndex: Int?
    package let local: ResolvedHead?
    package let global: ResolvedHead?
    /// Linear layers with ReLU between, to one logit.
    package let prior: [ResolvedLayer]?
    /// Linear, dropout, batch norm, ReLU for each hidden layer, then linear (and batch norm).
    package let classifier: [ResolvedLayer]?
    /// 1x1 convolutions on cat(M, y), with ReLU between, to height + width logits at each location.
    package let coordinates: [ResolvedLayer]?

    /// The coordinates' network as a head of height + width scores at each location.
    package var coordinatesHead: ResolvedHead? {
        guard let coordinates, let hidden = architecture.coordinates?.hidden else { return nil }
        return ResolvedHead(
            description: .concat(hidden: hidden), input: featuresShape, map: [], vector: [], joint: coordinates,
            scale: 1, normsLast: false)
    }

    package var featuresShape: MapShape { encoder[featuresIndex].output }
    package var convShape: MapShape? { convIndex.map { encoder[$0].output } }
    package var fcSize: Int? { fcIndex.map { encoder[$0].output.size } }
    package var encodedSize: Int { encoder[encoder.count - 1].output.channels }
    package var classes: Int? { architecture.classifier?.classes }
    /// The map that the global head reads; nil without one.
    package var globalMapShape: MapShape? { global?.input }

    package var networks: [Network] {
        Network.allCases.filter {
            switch $0 {
            case .encoder: true
            case .globalD: global != nil
            case .localD: local != nil
            case .priorD: prior != nil
            case .classifier: classifier != nil
            case .coordinatesD: coordinates != nil
            }
        }
    }
}
