/// What a network is made of, layer by layer: the table of `dim info`.
package struct ArchitectureSummary: Equatable, Sendable {
    package struct Row: Equatable, Sendable {
        package let network: Network
        /// "c0", "r0.c1"; "" for a layer without a name.
        package let name: String
        package let op: Layer.Operation
        package let output: MapShape
        package let isFlat: Bool
        /// Of the layer and its norm, running statistics and counters left out.
        package let parameters: Int
        /// Of one image's forward pass: convolutions and linear layers, as they are written down. A score network on
        /// cat(M, y) costs less than this, since y's share is computed once.
        package let multiplyAdds: Int
    }

    package let rows: [Row]
    package var parameters: Int { rows.reduce(0) { $0 + $1.parameters } }
    package var multiplyAdds: Int { rows.reduce(0) { $0 + $1.multiplyAdds } }
}

extension ResolvedArchitecture {
    package var summary: ArchitectureSummary {
        ArchitectureSummary(
            rows: networks.flatMap { network in
                let counts = trainable(network)
                return layers(of: network).flatMap { rows($0, network, counts) }
            })
    }

    /// A network's layers in the order of its parameters.
    package func layers(of network: Network) -> [ResolvedLayer] {
        func layers(_ head: ResolvedHead?) -> [ResolvedLayer] { head.map { $0.map + $0.vector + $0.joint } ?? [] }
        return switch network {
        case .encoder: encoder
        case .globalD: layers(global)
        case .localD: layers(local)
        case .priorD: prior ?? []
        case .classifier: classifier ?? []
        case .coordinatesD: coordinates ?? []
        }
    }

    /// The numbers of a network that have a gradient, by the path of their layer or norm.
    private func trainable(_ network: Network) -> [String: Int] {
        parameters(of: network).filter(\.isTrainable).reduce(into: [:]) { counts, spec in
            let path = spec.key.split(separator: ".").dropLast().joined(separator: ".")
            counts[path, default: 0] += spec.count
        }
    }

    /// A residual block's layers, its shortcut, then the block itself.
    private func rows(_ layer: ResolvedLayer, _ network: Network, _ counts: [String: Int]) -> [ArchitectureSummary.Row]
    {
        let inner = (layer.children + (layer.shortcut.map { [$0] } ?? [])).flatMap { rows($0, network, counts) }
        let kernel = layer.layer.kernel
        let window = layer.layer.op == .conv ? kernel.rows * kernel.columns : 1
        let products = layer.layer.isProduct ? layer.output.channels * layer.input.channels * window : 0
        let own = layer.layer.hasParameters ? counts[layer.path] ?? 0 : 0
        let norm = layer.normPath.flatMap { counts[$0] } ?? 0
        return inner + [
            ArchitectureSummary.Row(
                network: network, name: layer.path.isEmpty ? layer.layer.name ?? "" : layer.path, op: layer.layer.op,
                output: layer.output, isFlat: layer.isFlat, parameters: own + norm,
                multiplyAdds: products * layer.output.pixels)
        ]
    }
}

extension Architecture {
    package var summary: ArchitectureSummary { resolved.summary }
}

extension ArchitectureSummary {
    /// {"layers":[{"network":"encoder","name":"c0","op":"conv","output":[64,16,16],"parameters":3200,
    /// "multiply_adds":786432},..],"parameters":..,"multiply_adds":..}
    package var json: String {
        var text = CanonicalText()
        text.object {
            $0.member("layers") { text in
                text.array(rows) { text, row in
                    let shape = row.output
                    text.object {
                        $0.member("network", row.network.prefix)
                        $0.member("name", row.name)
                        $0.member("op", row.op.rawValue)
                        $0.member("output") {
                            $0.array(row.isFlat ? [shape.channels] : [shape.channels, shape.height, shape.width]) {
                                $0.add(String($1))
                            }
                        }
                        $0.member("parameters", row.parameters)
                        $0.member("multiply_adds", row.multiplyAdds)
                    }
                }
            }
            $0.member("parameters", parameters)
            $0.member("multiply_adds", multiplyAdds)
        }
        return text.text
    }
}
