import CDim
import DimModel
import DimRuntime

@_cdecl("dim_encode") @implementation
public func dim_encode(
    _ model: OpaquePointer!, _ images: UnsafePointer<Float>!, _ n: Int,
    _ encoded: UnsafeMutablePointer<Float>!, _ features: UnsafeMutablePointer<Float>!
) -> dim_status {
    fallible {
        let model: Model = try HandleTable.object(model, "model")
        try model.encode(
            try nonNull(images, "images"), count: try imageCount(n),
            EncodedOutputs(encoded: try nonNull(encoded, "encoded"), features: features))
    }
}

@_cdecl("dim_encode_outputs") @implementation
public func dim_encode_outputs(
    _ model: OpaquePointer!, _ images: UnsafePointer<Float>!, _ n: Int, _ outputs: UnsafePointer<dim_outputs>!
) -> dim_status {
    fallible {
        let model: Model = try HandleTable.object(model, "model")
        let images = try nonNull(images, "images")
        let wanted = try nonNull(outputs, "outputs").pointee
        try checkStructSize(wanted.struct_size, MemoryLayout<dim_outputs>.size, "dim_outputs")
        guard wanted.encoded != nil || wanted.features != nil || wanted.conv != nil || wanted.fc != nil else {
            throw DimError(.invalidArgument, "every output is NULL; expected one of them to be wanted")
        }
        let sizes = model.sizes
        for (name, pointer, size) in [("conv", wanted.conv, sizes.conv?.size ?? 0), ("fc", wanted.fc, sizes.fc)]
        where pointer != nil && size == 0 {
            throw DimError(
                .invalidArgument,
                "outputs->\(name): expected NULL, since the model's architecture has no \(name), found a buffer")
        }
        try model.encode(
            images, count: try imageCount(n),
            EncodedOutputs(encoded: wanted.encoded, features: wanted.features, conv: wanted.conv, fc: wanted.fc))
    }
}

@_cdecl("dim_score_local_pairs") @implementation
public func dim_score_local_pairs(
    _ model: OpaquePointer!, _ encoded: UnsafePointer<Float>!, _ features: UnsafePointer<Float>!, _ n: Int,
    _ logits: UnsafeMutablePointer<Float>!
) -> dim_status {
    fallible {
        let model: Model = try HandleTable.object(model, "model")
        try model.scoreLocalPairs(
            encoded: try nonNull(encoded, "encoded"), features: try nonNull(features, "features"),
            count: try imageCount(n), logits: try nonNull(logits, "logits"))
    }
}

@_cdecl("dim_score_global") @implementation
public func dim_score_global(
    _ model: OpaquePointer!, _ encoded: UnsafePointer<Float>!, _ features: UnsafePointer<Float>!, _ n: Int,
    _ logits: UnsafeMutablePointer<Float>!
) -> dim_status {
    fallible {
        let model: Model = try HandleTable.object(model, "model")
        try model.scoreGlobal(
            encoded: try nonNull(encoded, "encoded"), features: try nonNull(features, "features"),
            count: try imageCount(n), logits: try nonNull(logits, "logits"))
    }
}

@_cdecl("dim_score_local") @implementation
public func dim_score_local(
    _ model: OpaquePointer!, _ encoded: UnsafePointer<Float>!, _ features: UnsafePointer<Float>!, _ n: Int,
    _ logits: UnsafeMutablePointer<Float>!
) -> dim_status {
    fallible {
        let model: Model = try HandleTable.object(model, "model")
        try model.scoreLocal(
            encoded: try nonNull(encoded, "encoded"), features: try nonNull(features, "features"),
            count: try imageCount(n), logits: try nonNull(logits, "logits"))
    }
}

@_cdecl("dim_score_prior") @implementation
public func dim_score_prior(
    _ model: OpaquePointer!, _ encoded: UnsafePointer<Float>!, _ n: Int, _ probabilities: UnsafeMutablePointer<Float>!
) -> dim_status {
    fallible {
        let model: Model = try HandleTable.object(model, "model")
        try model.scorePrior(
            encoded: try nonNull(encoded, "encoded"), count: try imageCount(n),
            probabilities: try nonNull(probabilities, "probabilities"))
    }
}

@_cdecl("dim_classify") @implementation
public func dim_classify(
    _ model: OpaquePointer!, _ encoded: UnsafePointer<Float>!, _ n: Int, _ probabilities: UnsafeMutablePointer<Float>!
) -> dim_status {
    fallible {
        let model: Model = try HandleTable.object(model, "model")
        try model.classify(
            encoded: try nonNull(encoded, "encoded"), count: try imageCount(n),
            probabilities: try nonNull(probabilities, "probabilities"))
    }
}
