from django.db import migrations, models


class Migration(migrations.Migration):
    # new-code-needs-this: the deployment migrates first, and /readyz/ is 503 until then

    dependencies = [
        ('users', '0002_deactivation_kills_tokens'),
    ]

    operations = [
        migrations.AddField(
            model_name='loginfailures',
            name='reserved',
            field=models.IntegerField(db_default=0, default=0),
        ),
    ]
