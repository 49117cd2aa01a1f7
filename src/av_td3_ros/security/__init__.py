"""Keys, certificates and permissions for DDS Security (SROS 2); knows no ROS."""
