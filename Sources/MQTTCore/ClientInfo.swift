import MQTTPackets

/// A client, as hooks, events and host code see it.
public struct ClientInfo: Sendable, Hashable, Identifiable {
    /// The client identifier (MQTT 5.0, section 3.1.3.1). Empty before the broker has assigned one.
    public var id: String
    /// Host and port that its connection came from.
    public var address: String
    /// The version of the protocol that it speaks.
    public var version: ProtocolVersion
    /// The user name of its CONNECT (section 3.1.3.5), or what the `authenticate` hook put in its place.
    public var username: String?
    /// What the `authenticate` hook said of it, for other hooks to look at.
    public var attributes: [String: String]

    /// A client.
    public init(
        id: String,
        address: String,
        version: ProtocolVersion,
        username: String? = nil,
        attributes: [String: String] = [:]
    ) {
        self.id = id
        self.address = address
        self.version = version
        self.username = username
        self.attributes = attributes
    }
}
