/// Checks that need no shapes: ranges, names, references.
struct Validation {
    var faults: Faults
    /// Of the network at hand.
    private var layers = 0

    init(_ faults: Faults) { self.faults = faults }

    mutating func check(_ a: Architecture) {
        check(a.image)
        check(a.encoder)
        check(a.local, "local")
        check(a.global, "global")
        if let global = a.global { checkGlobal(global, a) }
        if let prior = a.prior { checkHidden(prior.hidden, "prior.hidden") }
        if let coordinates = a.coordinates { checkHidden(coordinates.hidden, "coordinates.hidden") }
        if let classifier = a.classifier { check(classifier) }
    }

    private mutating func range(_ value: Int, _ range: ClosedRange<Int>, _ place: String) {
        if !range.contains(value) && !faults.touch(place) {
            faults.add(place, "expected \(range.lowerBound) to \(range.upperBound), found \(value)")
        }
    }

    /// upper: of rows and of columns.
    private mutating func range(_ pair: Layer.Pair, _ lower: Int, _ upper: Layer.Pair, _ place: String) {
        if pair.rows == pair.columns && upper.rows == upper.columns {
            range(pair.rows, lower...max(lower, upper.rows), place)
        } else {
            range(pair.rows, lower...max(lower, upper.rows), place + "[0]")
            range(pair.columns, lower...max(lower, upper.columns), place + "[1]")
        }
    }

    // MARK: Image

    private mutating func check(_ image: ImageDescription) {
        range(image.channels, 1...Limits.channels, "image.channels")
        range(image.height, 1...Limits.imageSide, "image.height")
        range(image.width, 1...Limits.imageSide, "image.width")
        if !faults.touch("image.channels") {
            for (values, place) in [(image.mean, "image.mean"), (image.std, "image.std")]
            where values.count != 1 && values.count != image.channels && !faults.touch(place) {
                faults.add(
                    place, "expected a number, or one for each of \(image.channels) channels, found \(values.count)")
            }
        }
        // float32 computes with them.
        for (index, value) in image.mean.enumerated() where !(abs(value) <= 1e6) {
            faults.add(element("image.mean", index, image.mean), "expected -1e6 to 1e6, found \(value)")
        }
        for (index, value) in image.std.enumerated() where !(value >= 1e-6 && value <= 1e6) {
            faults.add(element("image.std", index, image.std), "expected 1e-6 to 1e6, found \(value)")
        }
        if !faults.touch("image"), image.shape.size > Limits.arrayFloats {
            faults.add("image", "expected at most \(Limits.arrayFloats) numbers, found \(image.shape.size)")
        }
    }

    private func element(_ place: String, _ index: Int, _ values: [Double]) -> String {
        values.count == 1 ? place : "\(place)[\(index)]"
    }

    // MARK: Encoder

    private mutating func check(_ encoder: EncoderDescription) {
        var names: Set<String> = []
        layers = 0
        checkLayers(encoder.layers, "encoder.layers", &names)
        guard !faults.touch("encoder.layers") || !encoder.layers.isEmpty else { return }
        guard let last = encoder.layers.last else {
            faults.add("encoder.layers", "expected at least one layer, found none")
            return
        }
        if last.op != .linear && !faults.touch("encoder.layers[\(encoder.layers.count - 1)].op") {
            faults.add(
                "encoder.layers[\(encoder.layers.count - 1)].op",
                "expected \"linear\", as the last layer is, found \"\(last.op.rawValue)\"")
        }
        checkReference(encoder.features, "encoder.features", encoder)
        if let conv = encoder.conv { checkReference(conv, "encoder.conv", encoder) }
        if let fc = encoder.fc { checkReference(fc, "encoder.fc", encoder) }
    }

    private mutating func checkReference(_ name: String, _ place: String, _ encoder: EncoderDescription) {
        if faults.touch(place) { return }
        guard let index = encoder.layers.firstIndex(where: { $0.name == name }) else {
            let known = encoder.layers.dropLast().compactMap(\.name)
            let found = known.isEmpty ? "" : "; there are \(known.prefix(16).map(quoted).joined(separator: ", "))"
            faults.add(place, "no layer of the encoder has the name \(quoted(name))\(found)")
            return
        }
        if index == encoder.layers.count - 1 {
            faults.add(place, "expected a layer before the last, found \(quoted(name)), whose output is encoded")
        }
    }

    // MARK: Layers

    private mutating func checkLayers(_ list: [Layer], _ place: String, _ names: inout Set<String>) {
        for (index, layer) in list.enumerated() { check(layer, "\(place)[\(index)]", &names) }
    }

    private mutating func check(_ layer: Layer, _ place: String, _ names: inout Set<String>) {
        layers += 1
        if layers == Limits.layers + 1 { faults.add(place, "expected at most \(Limits.layers) layers in a network") }
        checkName(layer, place, &names)
        if layer.isProduct { range(layer.out, 1...Limits.channels, place + ".out") }
        if layer.op == .conv || layer.isPool { checkWindow(layer, place) }
        if layer.op == .dropout && !(layer.probability >= 0 && layer.probability < 1)
            && !faults.touch(place + ".dropout")
        {
            faults.note(place + ".dropout", "expected 0 or more and below 1, found \(layer.probability)")
        }
        if layer.op == .residual {
            // The names of a block without a name are those of the network around it.
            var inner: Set<String> = []
            if layer.name == nil { checkResidual(layer, place, &names) } else { checkResidual(layer, place, &inner) }
        }
    }

    private mutating func checkWindow(_ layer: Layer, _ place: String) {
        range(layer.kernel, 1, Layer.Pair(Limits.kernel), place + ".kernel")
        range(layer.stride, 1, Layer.Pair(Limits.stride), place + ".stride")
        guard !faults.touch(place + ".kernel") else { return }
        // No window of padding alone; of pools at most a half, as in PyTorch.
        let kernel = layer.kernel
        let upper =
            layer.isPool
            ? Layer.Pair(kernel.rows / 2, kernel.columns / 2) : Layer.Pair(kernel.rows - 1, kernel.columns - 1)
        range(layer.padding, 0, upper, place + ".padding")
    }

    private mutating func checkResidual(_ layer: Layer, _ place: String, _ names: inout Set<String>) {
        if layer.layers.isEmpty && !faults.touch(place + ".layers") {
            faults.add(place + ".layers", "expected at least one layer, found none")
        }
        checkLayers(layer.layers, place + ".layers", &names)
        guard let shortcut = layer.shortcut else { return }
        let at = place + ".shortcut"
        check(shortcut, at, &names)
        if shortcut.op != .conv && !faults.touch(at + ".op") {
            faults.add(at + ".op", "expected \"conv\", found \"\(shortcut.op.rawValue)\"")
        }
        if layer.name != nil && shortcut.name != "s0" && !faults.touch(at + ".op") && !faults.touch(at + ".name") {
            faults.add(at + ".name", "expected \"s0\", found \(shortcut.name.map(quoted) ?? "null")")
        }
    }

    private mutating func checkName(_ layer: Layer, _ place: String, _ names: inout Set<String>) {
        if let name = layer.name {
            claim(name, place + ".name", &names)
        } else if layer.hasParameters && !faults.touch(place + ".name") {
            faults.add(place + ".name", "expected a name, since \(layer.op.rawValue) has parameters")
        }
        guard layer.norm != nil else { return }
        if let name = layer.normName {
            claim(name, place + ".norm_name", &names)
        } else if !faults.touch(place + ".name") {
            faults.add(place + ".name", "expected a name, or a norm_name, since the norm has parameters")
        }
    }

    private mutating func claim(_ name: String, _ place: String, _ names: inout Set<String>) {
        if faults.touch(place) { return }
        if !isLayerName(name) {
            faults.note(
                place, "expected letters, a number and perhaps a suffix, as in c0 or c0_norm, found \(quoted(name))")
        } else if !names.insert(name).inserted {
            faults.note(place, "\(quoted(name)) is the name of another layer or norm")
        }
    }

    // MARK: Heads

    private mutating func check(_ head: HeadDescription?, _ place: String) {
        guard let head else { return }
        switch head.score {
        case .dot: range(head.units, 1...Limits.channels, place + ".units")
        case .concat: checkHidden(head.hidden, place + ".hidden")
        }
        if place == "local" && head.score == .dot && head.net == .copy && !faults.touch("local.net") {
            faults.add("local.net", "expected \"light\" or \"authors\", found \"copy\", which is for global heads")
        }
    }

    private mutating func checkGlobal(_ head: HeadDescription, _ a: Architecture) {
        if head.input == .conv && a.encoder.conv == nil && !faults.touch("global.input") {
            faults.add("global.input", "expected \"features\", since encoder.conv is null, found \"conv\"")
        }
        switch (head.score, head.net) {
        case (.concat, _):
            // The layers behind the flattened map have these names.
            var names = Set((0...head.hidden.count).map { "l\($0)" })
            layers = 0
            checkLayers(head.layers, "global.layers", &names)
        case (.dot, .copy):
            if names(a.encoder.layers).contains("y0") && !faults.touch("global.net") {
                faults.add(
                    "global.net", "expected a net other than \"copy\": a layer of the encoder has the name \"y0\"")
            }
        default: break
        }
    }

    /// Of the network's own entries.
    private func names(_ layers: [Layer]) -> [String] {
        layers.flatMap { layer in
            let inner =
                layer.op == .residual && layer.name == nil ? layer.layers + (layer.shortcut.map { [$0] } ?? []) : []
            return [layer.name, layer.normName].compactMap { $0 } + names(inner)
        }
    }

    private mutating func checkHidden(_ hidden: [Int], _ place: String) {
        if hidden.count >= Limits.layers {
            faults.add(place, "expected at most \(Limits.layers - 1) layers, found \(hidden.count)")
            return
        }
        for (index, size) in hidden.enumerated() { range(size, 1...Limits.channels, "\(place)[\(index)]") }
    }

    // MARK: Classifier

    private mutating func check(_ classifier: ClassifierDescription) {
        checkHidden(classifier.hidden, "classifier.hidden")
        range(classifier.classes, Limits.minimumClasses...Limits.channels, "classifier.classes")
        if !(classifier.dropout >= 0 && classifier.dropout < 1) && !faults.touch("classifier.dropout") {
            faults.note("classifier.dropout", "expected 0 or more and below 1, found \(classifier.dropout)")
        }
        guard let names = classifier.names, !faults.touch("classifier.names") else { return }
        let count = classifier.hidden.count + 1
        guard names.count == count else {
            if !faults.touch("classifier.hidden") {
                faults.add(
                    "classifier.names",
                    "expected \(count) entries, one for each hidden layer and one for the last, found \(names.count); "
                        + "null gives l0, l1, ...")
            }
            return
        }
        var taken: Set<String> = []
        for (index, entry) in names.enumerated() {
            let place = "classifier.names[\(index)]"
            let hasNorm = index < count - 1 || classifier.outputNorm
            guard entry.count == (hasNorm ? 2 : 1) else {
                faults.add(
                    place,
                    "expected \(hasNorm ? "the layer's name and its norm's" : "the layer's name alone"), "
                        + "found \(entry.count) names")
                continue
            }
            for (part, name) in entry.enumerated() { claim(name, "\(place)[\(part)]", &taken) }
        }
    }
}

/// [a-z]{1,8}[0-9]{1,3}(_[a-z]{1,8})?
package func isLayerName(_ name: String) -> Bool {
    var rest = Substring(name).utf8
    func take(_ range: ClosedRange<UInt8>, _ limit: Int) -> Bool {
        let count = rest.prefix { range.contains($0) }.count
        rest = rest.dropFirst(count)
        return (1...limit).contains(count)
    }
    let letters = UInt8(ascii: "a")...UInt8(ascii: "z")
    guard take(letters, 8), take(UInt8(ascii: "0")...UInt8(ascii: "9"), 3) else { return false }
    if rest.isEmpty { return true }
    guard rest.removeFirst() == UInt8(ascii: "_") else { return false }
    return take(letters, 8) && rest.isEmpty
}
