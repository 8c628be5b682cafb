"""A tenant's books as the running installation keeps them."""

from caio.bootstrap import Installation, now
from caio.metering.ledger import TOTAL, Ledger
from caio.storage.memory.admission import InProcessAdmission
from caio.tenancy.authentication import embedded_scope


async def books_of(installation: Installation, tenant_id: str = "default") -> Ledger:
    assert isinstance(installation.admission, InProcessAdmission)
    return await installation.admission.ledger(embedded_scope(tenant_id), TOTAL, now())
