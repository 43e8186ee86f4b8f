import CDim
import DimModel
import DimRuntime

@_cdecl("dim_encode") @implementation
public func dim_encode(
    _ model: OpaquePointer!, _ images: UnsafePointer<Float>!, _ n: Int,
    _ encoded: UnsafeMutablePointer<Float>!, _ features: UnsafeMutablePointer<Float>!
) -> dim_status {
    fallible {
        let model: Model = try Handles.object(model, "model")
        try model.encode(
            try nonNull(images, "images"), count: try imageCount(n), encoded: try nonNull(encoded, "encoded"),
            features: features)
    }
}

@_cdecl("dim_score_global") @implementation
public func dim_score_global(
    _ model: OpaquePointer!, _ encoded: UnsafePointer<Float>!, _ features: UnsafePointer<Float>!, _ n: Int,
    _ logits: UnsafeMutablePointer<Float>!
) -> dim_status {
    fallible {
        let model: Model = try Handles.object(model, "model")
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
        let model: Model = try Handles.object(model, "model")
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
        let model: Model = try Handles.object(model, "model")
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
        let model: Model = try Handles.object(model, "model")
        try model.classify(
            encoded: try nonNull(encoded, "encoded"), count: try imageCount(n),
            probabilities: try nonNull(probabilities, "probabilities"))
    }
}
