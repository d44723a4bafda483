<?php echo "php in php/, ", $_SERVER["REQUEST_URI"];
