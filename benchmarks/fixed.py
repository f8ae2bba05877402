"""What all processes of the benchmark agree on."""

PATH = "/v1/callback/alipay"
APP_ID, SELLER_ID = "2021000000000001", "2088000000000001"
