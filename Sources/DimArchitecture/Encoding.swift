/// The canonical text of an Architecture: every key with its value, in a fixed order, without spaces.
extension Architecture {
    package var json: String {
        var text = CanonicalText()
        text.object {
            $0.member("version", 1)
            $0.member("preset", preset)
            $0.member("image") { $0.write(image) }
            $0.member("encoder") { $0.write(encoder) }
            $0.member("local") { $0.write(local, isGlobal: false) }
            $0.member("global") { $0.write(global, isGlobal: true) }
            $0.member("prior") { text in
                text.optional(prior) { text, prior in
                    text.member("hidden") { $0.array(prior.hidden) { $0.add(String($1)) } }
                    text.member("squash", prior.squash.rawValue)
                }
            }
            $0.member("classifier") { $0.write(classifier) }
            $0.member("coordinates") { text in
                text.optional(coordinates) { text, coordinates in
                    text.member("hidden") { $0.array(coordinates.hidden) { $0.add(String($1)) } }
                }
            }
        }
        return text.text
    }
}

/// Builds a JSON text.
struct CanonicalText {
    private(set) var text = ""
    /// A comma comes before the next member or element.
    private var isFirst = true

    mutating func add(_ literal: String) { text += literal }

    mutating func object(_ body: (inout CanonicalText) -> Void) {
        text += "{"
        isFirst = true
        body(&self)
        text += "}"
        isFirst = false
    }

    /// null, or an object of what `body` writes.
    mutating func optional<T>(_ value: T?, _ body: (inout CanonicalText, T) -> Void) {
        guard let value else { return add("null") }
        object { body(&$0, value) }
    }

    mutating func array<T>(_ list: [T], _ body: (inout CanonicalText, T) -> Void) {
        text += "["
        for (index, element) in list.enumerated() {
            if index > 0 { text += "," }
            body(&self, element)
        }
        text += "]"
    }

    mutating func member(_ key: String, _ body: (inout CanonicalText) -> Void) {
        if !isFirst { text += "," }
        isFirst = false
        string(key)
        text += ":"
        body(&self)
        isFirst = false
    }

    mutating func member(_ key: String, _ value: Int) { member(key) { $0.add(String(value)) } }
    mutating func member(_ key: String, _ value: Bool) { member(key) { $0.add(String(value)) } }
    mutating func member(_ key: String, _ value: String?) {
        member(key) { text in if let value { text.string(value) } else { text.add("null") } }
    }

    mutating func string(_ value: String) {
        text += "\""
        for scalar in value.unicodeScalars {
            switch scalar {
            case "\"": text += "\\\""
            case "\\": text += "\\\\"
            case _ where scalar.value < 0x20:
                text += "\\u00" + (scalar.value < 16 ? "0" : "") + String(scalar.value, radix: 16)
            default: text.unicodeScalars.append(scalar)
            }
        }
        text += "\""
    }

    /// The shortest text that reads as the same number.
    mutating func number(_ value: Double) {
        let text = value.description
        add(text.hasSuffix(".0") ? String(text.dropLast(2)) : text)
    }

    // MARK: Parts of a description

    mutating func write(_ image: ImageDescription) {
        object {
            $0.member("channels", image.channels)
            $0.member("height", image.height)
            $0.member("width", image.width)
            for (key, values) in [("mean", image.mean), ("std", image.std)] {
                $0.member(key) { text in
                    if values.count == 1 { text.number(values[0]) } else { text.array(values) { $0.number($1) } }
                }
            }
            $0.member("resize", image.resize.rawValue)
        }
    }

    mutating func write(_ encoder: EncoderDescription) {
        object {
            $0.member("layers") { $0.array(encoder.layers) { $0.write($1) } }
            $0.member("norms", encoder.normsLast ? "last" : nil)
            $0.member("features", encoder.features)
            $0.member("conv", encoder.conv)
            $0.member("fc", encoder.fc)
        }
    }

    mutating func write(_ layer: Layer) {
        object { text in
            for key in Layer.keys(layer.op) {
                let name = key.rawValue
                switch key {
                case .op: text.member(name, layer.op.rawValue)
                case .name: text.member(name, layer.name)
                case .out: text.member(name, layer.out)
                case .kernel: text.member(name, layer.kernel)
                case .stride: text.member(name, layer.stride)
                case .padding: text.member(name, layer.padding)
                case .bias: text.member(name, layer.bias)
                case .dropout: text.member(name) { $0.number(layer.probability) }
                case .layers: text.member(name) { $0.array(layer.layers) { $0.write($1) } }
                case .shortcut:
                    text.member(name) { text in
                        if let shortcut = layer.shortcut { text.write(shortcut) } else { text.add("null") }
                    }
                case .norm: text.member(name, layer.norm?.rawValue)
                case .normName: text.member(name, layer.normName)
                case .activation: text.member(name, layer.activation?.rawValue)
                }
            }
        }
    }

    private mutating func member(_ key: String, _ pair: Layer.Pair) {
        member(key) { $0.add(pair.rows == pair.columns ? "\(pair.rows)" : "[\(pair.rows),\(pair.columns)]") }
    }

    mutating func write(_ head: HeadDescription?, isGlobal: Bool) {
        optional(head) { text, head in
            for key in HeadDescription.keys(head.score, isGlobal: isGlobal) {
                let name = key.rawValue
                switch key {
                case .score: text.member(name, head.score.rawValue)
                case .input: text.member(name, head.input.rawValue)
                case .net: text.member(name, head.net.rawValue)
                case .units: text.member(name, head.units)
                case .layers: text.member(name) { $0.array(head.layers) { $0.write($1) } }
                case .hidden: text.member(name) { $0.array(head.hidden) { $0.add(String($1)) } }
                }
            }
        }
    }

    mutating func write(_ classifier: ClassifierDescription?) {
        optional(classifier) { text, classifier in
            text.member("hidden") { $0.array(classifier.hidden) { $0.add(String($1)) } }
            text.member("dropout") { $0.number(classifier.dropout) }
            text.member("classes", classifier.classes)
            text.member("output_norm", classifier.outputNorm ? "batch" : nil)
            text.member("names") { text in
                guard let names = classifier.names else { return text.add("null") }
                text.array(names) { $0.array($1) { $0.string($1) } }
            }
        }
    }
}
