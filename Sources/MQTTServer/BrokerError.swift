/// Why a broker could not start.
public enum BrokerError: Error, Sendable, CustomStringConvertible {
    /// An address cannot be listened on.
    case cannotListen(host: String, port: Int, reason: String)

    /// One sentence without a full stop.
    public var description: String {
        switch self {
        case .cannotListen(let host, let port, let reason): "cannot listen on \(host) port \(port): \(reason)"
        }
    }
}
