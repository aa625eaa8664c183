import MQTTPackets

/// The retained messages that a new subscription is still owed, as a position in the order of topics.
///
/// It yields as the connection takes its output, so that a subscription to `#` over a million topics costs no more at
/// a time than one page.
struct RetainedReplay: Sendable {
    /// The bytes of the filter as the client wrote it.
    let subscription: [UInt8]
    let filter: [[UInt8]]
    let options: SubscriptionOptions
    let identifier: UInt32
    /// Newer messages come by themselves, as live ones.
    let versionMax: UInt64
    /// Everything up to this topic has been sent.
    var key: [UInt8] = []
    /// Topics behind the position whose message was sent early, since a live one followed it.
    var pulledForward: Set<[UInt8]> = []

    init(
        subscription: [UInt8],
        filter: [UInt8],
        options: SubscriptionOptions,
        identifier: UInt32,
        versionMax: UInt64
    ) {
        self.subscription = subscription
        self.filter = filter.split(separator: Topics.separator, omittingEmptySubsequences: false).map(Array.init)
        self.options = options
        self.identifier = identifier
        self.versionMax = versionMax
    }
}
