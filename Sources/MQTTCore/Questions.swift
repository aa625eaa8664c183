import MQTTPackets
import NIOCore

/// What is asked for before it is handled.
package struct Asks: OptionSet, Sendable, Hashable {
    package let rawValue: UInt8

    package init(rawValue: UInt8) { self.rawValue = rawValue }

    /// CONNECT. Whoever decides of any packet before the lock has to know whose it is.
    package static var connect: Asks { Asks(rawValue: 1) }
    /// SUBSCRIBE, and the subscriptions of sessions that are resumed.
    package static var subscribe: Asks { Asks(rawValue: 2) }
    /// CONNECT with an authentication method, and AUTH.
    package static var authentication: Asks { Asks(rawValue: 4) }
}

/// What a connection waits to be told.
package enum Question: Sendable {
    /// May this client come? The client identifier is the one that it will have.
    case connect(ConnectAnswer)
    /// May it have the subscriptions of its session?
    case resume(ConnectAnswer, [ResumedSubscription])
    case subscribe(Subscribe)
    /// An exchange goes on, or a connected client begins another.
    case authenticate(Auth)
}

/// What it is told.
package enum Answer: Sendable {
    case connect(ConnectAnswer)
    /// The packet as it is to be handled, with a reason for each filter that is refused.
    case subscribe(Subscribe, refused: [ReasonCode?])
    /// AUTH with these properties asks the client for more.
    case challenge(Properties)
    /// AUTH with these properties tells a connected client that it has authenticated itself again.
    case authenticated(Properties)
    case refused(ReasonCode)
}

/// A CONNECT, and what was decided of it.
package struct ConnectAnswer: Sendable {
    package var connect: Connect
    /// Those that CONNACK is to have.
    package var properties: Properties
    /// Nil where the client may come.
    package var refusal: ReasonCode?
    package var username: String?
    package var attributes: [String: String] = [:]
    /// By filter: what was decided of the subscriptions of the session that it resumes.
    package var subscriptions: [[UInt8]: SubscriptionVerdict] = [:]

    package init(connect: Connect, properties: Properties) {
        self.connect = connect
        self.properties = properties
        username = connect.userName
    }
}

/// A subscription of a session that is being resumed.
package struct ResumedSubscription: Sendable {
    package let filter: [UInt8]
    package let options: SubscriptionOptions
}

/// What was decided of one.
package struct SubscriptionVerdict: Sendable {
    /// With which it was asked about.
    package let options: SubscriptionOptions
    /// Nil where it is to go.
    package let qosMax: QoS?

    package init(options: SubscriptionOptions, qosMax: QoS?) {
        self.options = options
        self.qosMax = qosMax.map { min($0, options.qos) }
    }
}

/// What was decided of one packet.
package enum PacketVerdict: Sendable {
    /// A PUBLISH that is not routed.
    case refused(ReasonCode)
    /// Another packet of the same kind stands for it; a PUBLISH in the coding of 5.0, without an alias.
    case replaced(ByteBuffer)
    /// Kept apart: it is large, and rare.
    indirect case answered(Answer)
}

/// The same for the packet that begins at a position of a burst.
package struct PlacedVerdict: Sendable {
    package var position: Int
    package let verdict: PacketVerdict

    package init(position: Int, verdict: PacketVerdict) {
        self.position = position
        self.verdict = verdict
    }
}

/// A question, and its answer until the packet is handled.
struct Asked: Sendable {
    let question: Question
    var answer: Answer?
}
