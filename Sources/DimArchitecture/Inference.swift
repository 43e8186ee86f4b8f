/// From a description to shapes, paths and networks in layers. Everything that is multiplied here is within `Limits`.
struct Inference {
    var faults: Faults
    private var isAuthorsNet = false

    /// What passes from layer to layer.
    struct Flow: Equatable {
        var shape: MapShape
        /// (n, c) rather than (n, c, h, w).
        var isFlat: Bool

        var text: String {
            isFlat
                ? "a vector of \(shape.channels) numbers"
                : "a map of (\(shape.channels), \(shape.height), \(shape.width))"
        }
    }

    init(_ faults: Faults) { self.faults = faults }

    /// Checked by Validation before: faults are in `faults`. nil where there is one.
    mutating func resolve(_ a: Architecture) -> ResolvedArchitecture? {
        guard !faults.touch("image"),
            let encoder = infer(
                a.encoder.layers, from: Flow(shape: a.image.shape, isFlat: false), "", "encoder.layers[",
                isIndexed: true)
        else { return nil }
        func index(_ name: String?) -> Int? { name.flatMap { name in encoder.firstIndex { $0.layer.name == name } } }
        let conv = index(a.encoder.conv), fc = index(a.encoder.fc)
        if let conv, encoder[conv].isFlat {
            faults.add("encoder.conv", "expected a map before flatten, found \(encoder[conv].flow.text)")
        }
        if let fc, !encoder[fc].isFlat {
            faults.add("encoder.fc", "expected a vector behind flatten, found \(encoder[fc].flow.text)")
        }
        guard let features = index(a.encoder.features), !faults.touch("encoder"), let last = encoder.last else {
            return nil
        }
        let map = encoder[features].output, y = last.output.channels
        let local = a.local.flatMap { faults.touch("local") ? nil : self.local($0, map, y) }
        let global = a.global.flatMap {
            faults.touch("global") ? nil : self.global($0, a.encoder, encoder, $0.input == .conv ? conv : features, y)
        }
        let prior = a.prior.flatMap { prior in
            faults.touch("prior")
                ? nil : chain(.linear, prior.hidden + [1], Flow(shape: last.output, isFlat: true), "prior")
        }
        let classifier = a.classifier.flatMap { classifier in
            faults.touch("classifier") ? nil : self.classifier(classifier, last.output)
        }
        let coordinates = a.coordinates.flatMap { coordinates in
            faults.touch("coordinates")
                ? nil
                : chain(
                    .conv, coordinates.hidden + [map.height + map.width], joined(map, y), "coordinates")
        }
        guard faults.isEmpty else { return nil }
        let resolved = ResolvedArchitecture(
            architecture: a, image: a.image.shape, encoder: encoder, featuresIndex: features, convIndex: conv,
            fcIndex: fc, local: local, global: global, prior: prior, classifier: classifier, coordinates: coordinates)
        checkSize(resolved)
        return faults.isEmpty ? resolved : nil
    }

    private mutating func checkSize(_ resolved: ResolvedArchitecture) {
        let counts = resolved.networks.map { network in
            (network, resolved.parameters(of: network).filter { !$0.isInteger }.reduce(0) { $0 + $1.count })
        }
        let total = counts.reduce(0) { $0 + $1.1 }
        if total > Limits.parameters {
            let parts = counts.map { "\($0.prefix) \($1)" }.joined(separator: ", ")
            faults.add("", "expected at most \(Limits.parameters) parameters in all networks, found \(total): \(parts)")
        }
    }

    // MARK: Layers

    /// place: of the list, with "[" appended if the layers are in the description (`isIndexed`); else the head's.
    private mutating func infer(
        _ layers: [Layer], from input: Flow, _ prefix: String, _ place: String, isIndexed: Bool = false
    ) -> [ResolvedLayer]? {
        var flow = input
        var result: [ResolvedLayer] = []
        for (index, layer) in layers.enumerated() {
            let at = isIndexed ? "\(place)\(index)]" : place
            guard let resolved = infer(layer, from: flow, prefix, at, isIndexed: isIndexed) else { return nil }
            result.append(resolved)
            flow = resolved.flow
        }
        return result
    }

    private mutating func infer(
        _ layer: Layer, from input: Flow, _ prefix: String, _ place: String, isIndexed: Bool, isShortcut: Bool = false
    ) -> ResolvedLayer? {
        if faults.touch(place) { return nil }
        var children: [ResolvedLayer] = []
        var shortcut: ResolvedLayer?
        var output = input
        switch layer.op {
        case .conv, .maxpool, .avgpool:
            guard let shape = window(layer, input, place) else { return nil }
            output.shape = shape
        case .linear:
            guard input.isFlat else {
                faults.add(place, "linear reads a vector: expected flatten before it, found \(input.text)")
                return nil
            }
            output.shape = MapShape(channels: layer.out)
        case .flatten:
            output = Flow(shape: MapShape(channels: input.shape.size), isFlat: true)
        case .dropout:
            break
        case .residual:
            let inner = layer.name.map { prefix + $0 + "." } ?? prefix
            let list = infer(
                layer.layers, from: input, inner, isIndexed ? place + ".layers[" : place, isIndexed: isIndexed)
            if let description = layer.shortcut {
                shortcut = infer(
                    description, from: input, inner, isIndexed ? place + ".shortcut" : place, isIndexed: isIndexed,
                    isShortcut: true)
                if shortcut == nil { return nil }
            }
            guard let list, let last = list.last else { return nil }
            children = list
            output = last.flow
            let other = shortcut?.flow ?? input
            if other != output {
                faults.add(
                    place,
                    "expected a sum of equal shapes, found \(output.text) from the layers and \(other.text) from "
                        + "the \(shortcut == nil ? "identity" : "shortcut")")
                return nil
            }
        }
        guard output.shape.size <= Limits.arrayFloats else {
            faults.add(
                place, "expected an output of at most \(Limits.arrayFloats) numbers, found \(output.shape.size)")
            return nil
        }
        let hasPath = layer.hasParameters || layer.op == .residual
        return ResolvedLayer(
            layer: layer, path: hasPath ? layer.name.map { prefix + $0 } ?? "" : "",
            normPath: layer.norm == nil ? nil : layer.normName.map { prefix + $0 }, input: input.shape,
            output: output.shape, isFlat: output.isFlat, children: children, shortcut: shortcut,
            drawsIdentity: isAuthorsNet && isShortcut)
    }

    /// Convolutions and pools. A pool's last window that would extend past the map is dropped: PyTorch's ceil_mode=False.
    private mutating func window(_ layer: Layer, _ input: Flow, _ place: String) -> MapShape? {
        guard !input.isFlat else {
            faults.add(place, "\(layer.op.rawValue) reads a map, found \(input.text)")
            return nil
        }
        let rows = input.shape.height + 2 * layer.padding.rows, columns = input.shape.width + 2 * layer.padding.columns
        guard layer.kernel.rows <= rows, layer.kernel.columns <= columns else {
            faults.add(
                place + ".kernel",
                "expected at most (\(rows), \(columns)), the size of the map and its padding, found "
                    + "(\(layer.kernel.rows), \(layer.kernel.columns))")
            return nil
        }
        return MapShape(
            channels: layer.op == .conv ? layer.out : input.shape.channels,
            height: (rows - layer.kernel.rows) / layer.stride.rows + 1,
            width: (columns - layer.kernel.columns) / layer.stride.columns + 1)
    }

    // MARK: Heads

    /// Layers to each size with ReLU between: c0, c1, .. (1x1 convolutions) or l0, l1, ..
    private mutating func chain(_ op: Layer.Operation, _ sizes: [Int], _ input: Flow, _ place: String)
        -> [ResolvedLayer]?
    {
        guard input.shape.size <= Limits.arrayFloats else {
            faults.add(
                place, "expected an input of at most \(Limits.arrayFloats) numbers, found \(input.shape.size)")
            return nil
        }
        let layers = sizes.enumerated().map { index, size in
            let activation: Layer.Activation? = index < sizes.count - 1 ? .relu : nil
            return op == .conv
                ? Layer.conv("c\(index)", size, kernel: 1, activation: activation)
                : Layer.linear("l\(index)", size, activation: activation)
        }
        return infer(layers, from: input, "", place)
    }

    /// cat(M, y) at each location.
    private func joined(_ map: MapShape, _ y: Int) -> Flow {
        Flow(shape: MapShape(channels: map.channels + y, height: map.height, width: map.width), isFlat: false)
    }

    private mutating func local(_ head: HeadDescription, _ map: MapShape, _ y: Int) -> ResolvedHead? {
        switch head.score {
        case .concat:
            guard let joint = chain(.conv, head.hidden + [1], joined(map, y), "local") else { return nil }
            return ResolvedHead(
                description: head, input: map, map: [], vector: [], joint: joint, scale: 1, normsLast: false)
        case .dot:
            return dot(head, map, [net(.conv, "f", head)], Flow(shape: map, isFlat: false), y, "local")
        }
    }

    private mutating func global(
        _ head: HeadDescription, _ description: EncoderDescription, _ encoder: [ResolvedLayer], _ index: Int?, _ y: Int
    ) -> ResolvedHead? {
        guard let index else { return nil }
        let map = encoder[index].output
        let flow = Flow(shape: map, isFlat: false)
        switch (head.score, head.net) {
        case (.concat, _):
            guard let own = infer(head.layers, from: flow, "", "global.layers[", isIndexed: true),
                let flat = infer([.flatten], from: own.last?.flow ?? flow, "", "global")
            else { return nil }
            let input = MapShape(channels: flat[0].output.channels + y)
            guard let joint = chain(.linear, head.hidden + [1], Flow(shape: input, isFlat: true), "global") else {
                return nil
            }
            return ResolvedHead(
                description: head, input: map, map: own + flat, vector: [], joint: joint, scale: 1, normsLast: false)
        case (.dot, .copy):
            var layers = Array(description.layers[(index + 1)...])
            layers[layers.count - 1].out = head.units
            return dot(head, map, layers, encoder[index].flow, y, "global", normsLast: description.normsLast)
        case (.dot, _):
            return dot(head, map, [.flatten, net(.linear, "f", head)], flow, y, "global")
        }
    }

    private mutating func dot(
        _ head: HeadDescription, _ map: MapShape, _ layers: [Layer], _ flow: Flow, _ y: Int, _ place: String,
        normsLast: Bool = false
    ) -> ResolvedHead? {
        isAuthorsNet = head.net == .authors
        defer { isAuthorsNet = false }
        let vector = head.net == .copy ? Layer.linear("y0", head.units) : net(.linear, "y", head)
        guard let features = infer(layers, from: flow, "", place),
            let vectors = infer([vector], from: Flow(shape: MapShape(channels: y), isFlat: true), "", place)
        else { return nil }
        return ResolvedHead(
            description: head, input: map, map: features, vector: vectors, joint: [],
            scale: head.net == .light ? 1 / Double(head.units).squareRoot() : 1, normsLast: normsLast)
    }

    /// Two layers and a shortcut: a residual block without a name of its own.
    private func net(_ op: Layer.Operation, _ letter: String, _ head: HeadDescription) -> Layer {
        let isAuthors = head.net == .authors
        func layer(_ name: String, bias: Bool) -> Layer {
            op == .conv
                ? .conv(name, head.units, kernel: 1, bias: bias) : .linear(name, head.units, bias: bias)
        }
        var first = layer(letter + "0", bias: !isAuthors)
        if isAuthors { first.setNorm(.batch) }
        first.activation = .relu
        return .residual(
            nil, [first, layer(letter + "1", bias: true)], shortcut: layer(letter + "s0", bias: !isAuthors),
            norm: isAuthors ? .layer : nil, normName: letter + "n0")
    }

    // MARK: Classifier

    private mutating func classifier(_ classifier: ClassifierDescription, _ y: MapShape) -> [ResolvedLayer]? {
        let count = classifier.hidden.count + 1
        let names = classifier.names ?? ClassifierDescription.defaultNames(count, outputNorm: classifier.outputNorm)
        var layers: [Layer] = []
        for (index, size) in (classifier.hidden + [classifier.classes]).enumerated() {
            let isLast = index == count - 1
            var layer = Layer.linear(names[index][0], size)
            let norm: Layer.Norm? = !isLast || classifier.outputNorm ? .batch : nil
            let normName = names[index].count > 1 ? names[index][1] : nil
            if isLast || classifier.dropout == 0 {
                layer.setNorm(norm, normName)
                layer.activation = isLast ? nil : .relu
                layers.append(layer)
            } else {
                layers.append(layer)
                layers.append(.dropout(classifier.dropout, norm: norm, normName: normName, activation: .relu))
            }
        }
        return infer(layers, from: Flow(shape: y, isFlat: true), "", "classifier")
    }
}

extension ClassifierDescription {
    /// Of `count` layers, the last one included.
    static func defaultNames(_ count: Int, outputNorm: Bool) -> [[String]] {
        (0..<count).map { $0 < count - 1 || outputNorm ? ["l\($0)", "l\($0)_norm"] : ["l\($0)"] }
    }
}

extension ResolvedLayer {
    var flow: Inference.Flow { Inference.Flow(shape: output, isFlat: isFlat) }
}

extension Architecture {
    /// Shapes, paths and networks in layers. Throws an ArchitectureError with everything that is wrong.
    package func resolve() throws -> ResolvedArchitecture { try resolve(after: Faults()) }

    /// faults: what reading the text found.
    func resolve(after faults: Faults) throws -> ResolvedArchitecture {
        var validation = Validation(faults)
        validation.check(self)
        var inference = Inference(validation.faults)
        let resolved = inference.resolve(self)
        try inference.faults.throwIfAny()
        guard let resolved else {
            throw ArchitectureError(faults: ["no shapes could be inferred: a defect of this library"], count: 1)
        }
        return resolved
    }

    /// Of an architecture that was read from text or is a preset's, and therefore sound. Computed anew each time.
    package var resolved: ResolvedArchitecture {
        do { return try resolve() } catch { preconditionFailure("an architecture that was not validated: \(error)") }
    }
}
