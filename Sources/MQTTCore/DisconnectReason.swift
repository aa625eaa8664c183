import MQTTPackets

/// Why a connection ended.
public enum DisconnectReason: Sendable, Hashable, CustomStringConvertible {
    /// The client sent DISCONNECT; before 5.0 the code is always `success`.
    case client(ReasonCode)
    /// The broker ended the connection or refused its CONNECT. The text says what was wrong.
    case broker(ReasonCode, explanation: String)
    /// The client closed the connection, or it broke, without DISCONNECT.
    case closed
    /// The transport failed. The text is that of its error.
    case failed(String)

    /// Whether something went wrong on the client's side or on the way: not where one of both ends asked for the end,
    /// another connection took the session over, or the client fell silent.
    public var isError: Bool {
        switch self {
        case .client, .closed: false
        case .broker(let code, _):
            code.isError
                && ![.sessionTakenOver, .serverShuttingDown, .administrativeAction, .keepAliveTimeout].contains(code)
        case .failed: true
        }
    }

    /// One phrase, as it stands in the log.
    public var description: String {
        switch self {
        case .client: "client disconnected"
        case .broker(_, let explanation): explanation
        case .closed: "connection lost"
        case .failed(let error): "connection lost: \(error)"
        }
    }
}
