import MQTTPackets

/// Why something that a client was asked to do did not happen.
public enum MQTTError: Error, Sendable, Hashable {
    /// What was asked for cannot be said in MQTT, or not in this version of it.
    case invalidArgument(String)
    /// There is no connection, and the message is not one that waits for it.
    case notConnected
    /// No server could be reached.
    case connectFailed(String)
    /// The server did not answer CONNECT in time.
    case connectTimedOut
    /// The server answered CONNECT with an error, and perhaps with its reasons (MQTT 5.0, section 3.2).
    case refused(ReasonCode, Properties)
    /// The server ended the connection with DISCONNECT (section 3.14).
    case disconnected(ReasonCode, Properties)
    /// The connection broke, with the cause in words.
    case connectionLost(String)
    /// The server did not answer PINGREQ in time.
    case keepAliveTimedOut
    /// The server sent what is no packet, or one that is not allowed there; the connection was closed with the code.
    case protocolViolation(ReasonCode, String)
    /// The server took the message not, or would not: its limits in CONNACK say so.
    case publishRefused(ReasonCode)
    /// The server refused some of the filters. None of the subscription is left.
    case subscriptionRefused([Grant])
    /// The server refused to end the subscription.
    case unsubscriptionRefused(ReasonCode)
    /// The queue of what waits to be sent is full.
    case queueFull
    /// The message made room for newer ones.
    case dropped
    /// The message waited longer than it may.
    case expired
    /// The message was taken back with `removePublish`.
    case removed
    /// The connection has broken on the message too often (`QueueLimits.attemptsMax`). The server may have it.
    case attemptsExhausted
    /// The store cannot keep anything any more: the client has ended.
    case storeFailed(String)
    /// No answer came in time.
    case requestTimedOut
    /// The exchange of enhanced authentication failed on this side.
    case authenticationFailed(String)
    /// The client has ended.
    case closed
    /// The task was cancelled.
    case cancelled
    /// `run()` was called before: a client runs once.
    case alreadyRunning

    /// What a server said to one topic filter (section 3.9.3).
    public struct Grant: Sendable, Hashable {
        /// As it was asked for.
        public let filter: String
        /// 0 to 2 are the QoS that was granted; others are errors.
        public let reasonCode: ReasonCode

        /// The most that messages come with; nil where the filter was refused.
        public var qos: QoS? { QoS(rawValue: reasonCode.rawValue) }
    }

    /// The code that the server or this end gave.
    public var reasonCode: ReasonCode? {
        switch self {
        case .refused(let code, _), .disconnected(let code, _), .protocolViolation(let code, _),
            .publishRefused(let code), .unsubscriptionRefused(let code):
            code
        case .subscriptionRefused(let grants): grants.first { $0.reasonCode.isError }?.reasonCode
        default: nil
        }
    }

    /// Where the server says to go instead (section 4.11): a host, or several.
    var serverReference: String? {
        switch self {
        case .refused(_, let properties), .disconnected(_, let properties): properties[string: .serverReference]
        default: nil
        }
    }

    /// Whether the same might succeed when it is tried again.
    var isTransient: Bool {
        switch self {
        case .connectFailed, .connectTimedOut, .connectionLost, .keepAliveTimedOut, .protocolViolation: true
        case .refused(let code, _):
            switch code {
            case .unspecifiedError, .implementationSpecificError, .serverUnavailable, .serverBusy, .quotaExceeded,
                .useAnotherServer, .serverMoved, .connectionRateExceeded:
                true
            default: false
            }
        // Who has taken the session over would lose it again.
        case .disconnected(let code, _): code != .sessionTakenOver
        default: false
        }
    }
}

extension MQTTError: CustomStringConvertible {
    /// One phrase.
    public var description: String {
        switch self {
        case .invalidArgument(let what): what
        case .notConnected: "not connected"
        case .connectFailed(let cause): "cannot connect: \(cause)"
        case .connectTimedOut: "the server did not answer in time"
        case .refused(let code, let properties):
            "the server refused the connection: \(code)\(Self.reason(properties))"
        case .disconnected(let code, let properties):
            "the server ended the connection: \(code)\(Self.reason(properties))"
        case .connectionLost(let cause): "the connection was lost: \(cause)"
        case .keepAliveTimedOut: "the server has fallen silent"
        case .protocolViolation(let code, let what): "the server broke the protocol: \(what), \(code)"
        case .publishRefused(let code): "the message was refused: \(code)"
        case .subscriptionRefused(let grants):
            "refused: "
                + grants.filter { $0.reasonCode.isError }.map { "\($0.filter): \($0.reasonCode)" }
                .joined(separator: ", ")
        case .unsubscriptionRefused(let code): "the end of the subscription was refused: \(code)"
        case .queueFull: "the queue of what waits to be sent is full"
        case .dropped: "the message was dropped for newer ones"
        case .expired: "the message has expired"
        case .removed: "the message was removed"
        case .attemptsExhausted: "the connection broke each time when the message was sent"
        case .storeFailed(let cause): "the store has failed: \(cause)"
        case .requestTimedOut: "no answer came in time"
        case .authenticationFailed(let cause): "authentication failed: \(cause)"
        case .closed: "the client has ended"
        case .cancelled: "cancelled"
        case .alreadyRunning: "a client runs once"
        }
    }

    private static func reason(_ properties: Properties) -> String {
        properties[string: .reasonString].map { ", \($0)" } ?? ""
    }
}
